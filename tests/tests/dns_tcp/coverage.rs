//! Coverage: tricks of random streams, and their success.

use std::{collections::BTreeMap, fmt};

macro_rules! tricks {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// Purpose of a segment.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Trick {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Trick {
            /// All.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

tricks! {
    /// A segment of an honest client.
    Plain = "plain";
    /// The same octets again.
    Repeat = "repeat";
    /// A segment that begins before the end of what was sent.
    Overlap = "overlap";
    /// The same, with other octets before that end.
    OverlapChanged = "overlap-changed";
    /// A repetition with other octets, and more behind it.
    Beyond = "beyond-the-end";
    /// A repetition of octets that have arrived, with other ones.
    Changed = "changed";
    /// A repetition of lost octets, with other ones.
    LostChanged = "lost-changed";
    /// A repetition of lost octets.
    LostRepeat = "lost-repeat";
    /// A lost segment without a repetition.
    LostForever = "lost-forever";
    /// An answer to the SYN-ACK that is some octets off: of SYN cookies some are right then.
    Skipped = "skipped";
    /// Denied octets first, then allowed ones in their place.
    DeniedFirst = "denied-first";
    /// A denied query.
    Denied = "denied";
    /// A segment before the one that it follows.
    Reorder = "reorder";
    /// Urgent data.
    Urgent = "urgent";
    /// Data in a SYN.
    SynData = "syn-data";
    /// Data before the server's SYN-ACK.
    Early = "early";
    /// Another SYN before the server's SYN-ACK.
    SynBefore = "syn-before";
    /// Another SYN after it.
    SynAfter = "syn-after";
    /// Another SYN after data.
    SynLate = "syn-late";
    /// One octet below what is expected, as a keep-alive probe.
    KeepAlive = "keep-alive";
    /// A segment with a wrong checksum.
    Checksum = "checksum";
    /// A segment that reaches no resolver.
    Hops = "hops";
    /// A segment with an old time stamp.
    Stamp = "stamp";
    /// A segment with a signature that was not agreed on.
    Signature = "signature";
    /// An acknowledgement of what was never sent.
    AckBeyond = "ack-beyond";
    /// An old acknowledgement.
    AckOld = "ack-old";
    /// No acknowledgement at all.
    NoAck = "no-ack";
    /// No window.
    ZeroWindow = "zero-window";
    /// A reset that the server takes.
    Reset = "reset";
    /// A reset that it does not take.
    ResetIgnored = "reset-ignored";
    /// A FIN in between.
    Fin = "fin";
    /// Another connection on the same ports.
    Reuse = "reuse";
    /// A SYN-ACK in the server's name.
    ForgedSynAck = "forged-syn-ack";
    /// An acknowledgement in the server's name.
    ForgedAck = "forged-ack";
    /// A reset in the server's name.
    ForgedReset = "forged-reset";
    /// An answer in the server's name.
    ForgedAnswer = "forged-answer";
    /// An answer of the server's that answers nothing.
    Unasked = "unasked";
}

/// Counts of one trick.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Streams with it.
    pub streams: u64,
    /// Those of which the server has read a message.
    pub read: u64,
    /// Segments with it.
    pub sent: u64,
    /// Those that the filter let pass.
    pub passed: u64,
}

/// Counts of streams.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// By trick.
    pub tricks: BTreeMap<Trick, Count>,
    /// Honest streams.
    pub ordinary: u64,
    /// Their messages, all of which were answered.
    pub answered: u64,
    /// Hostile streams.
    pub hostile: u64,
    /// Those of which the server has read a message.
    pub hostile_read: u64,
    /// Messages that the server has read of hostile streams.
    pub messages: u64,
}

impl Coverage {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        for (trick, count) in &other.tricks {
            let sum = self.tricks.entry(*trick).or_default();
            sum.streams += count.streams;
            sum.read += count.read;
            sum.sent += count.sent;
            sum.passed += count.passed;
        }
        self.ordinary += other.ordinary;
        self.answered += other.answered;
        self.hostile += other.hostile;
        self.hostile_read += other.hostile_read;
        self.messages += other.messages;
    }

    /// The counts of a trick.
    #[must_use]
    pub fn of(&self, trick: Trick) -> Count {
        self.tricks.get(&trick).copied().unwrap_or_default()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ordinary, answered, hostile, hostile_read, messages, .. } = self;
        writeln!(f, "{ordinary} honest streams, {answered} messages answered")?;
        writeln!(f, "{hostile} hostile ones, {hostile_read} read from, {messages} messages read")?;
        let [a, b, c, d] = ["streams", "read from", "segments", "passed"];
        writeln!(f, "{:16} {a:>9} {b:>9} {c:>9} {d:>9}", "")?;
        for (trick, count) in &self.tricks {
            let Count { streams, read, sent, passed } = count;
            writeln!(f, "{:16} {streams:9} {read:9} {sent:9} {passed:9}", trick.as_str())?;
        }
        Ok(())
    }
}
