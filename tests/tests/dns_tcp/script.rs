//! What a client does on one connection, told before it begins: steps, each some segments at once.

use std::fmt;

use crate::{
    coverage::Trick,
    messages::Asked,
    segment::{ACK, PSH, SYN, letters},
};

/// Why a server does not take a segment that is right otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dud {
    /// Its checksum is wrong.
    Checksum,
    /// Its hop limit ends between the gateway and the server.
    Hops,
    /// Its time stamp is old (RFC 7323 section 5).
    Stamp,
    /// It is signed, and no signature was agreed on (RFC 2385).
    Signature,
}

/// What a segment acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// What has come.
    All,
    /// So much more.
    Beyond(u32),
    /// So much less.
    Old(u32),
}

/// A segment to be sent. Sequence numbers count from the connection's initial one.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Why it is sent.
    pub trick: Trick,
    /// Its sequence number.
    pub at: i64,
    /// The initial sequence number of the SYN whose answer it acknowledges.
    pub base: i64,
    /// Flags.
    pub flags: u8,
    /// Data.
    pub data: Vec<u8>,
    /// What it acknowledges.
    pub acknowledged: Acknowledged,
    /// The urgent pointer.
    pub urgent: u16,
    /// The window.
    pub window: u16,
    /// Why the server does not take it, if it does not.
    pub dud: Option<Dud>,
}

impl Cut {
    /// Data.
    #[must_use]
    pub fn data(trick: Trick, base: i64, at: i64, data: &[u8]) -> Self {
        Self {
            trick,
            at,
            base,
            flags: if data.is_empty() { ACK } else { ACK | PSH },
            data: data.to_vec(),
            acknowledged: Acknowledged::All,
            urgent: 0,
            window: 30_000,
            dud: None,
        }
    }

    /// A SYN.
    #[must_use]
    pub fn syn(trick: Trick, base: i64) -> Self {
        Self { flags: SYN, ..Self::data(trick, base, base, &[]) }
    }
}

/// What an accomplice in the client's network sends in the server's name.
#[derive(Clone, Debug)]
pub struct Forged {
    /// Why.
    pub trick: Trick,
    /// Flags.
    pub flags: u8,
    /// What it acknowledges, counted from the client's initial number.
    pub acknowledged: i64,
    /// The initial number of the SYN whose answer it goes on from.
    pub base: i64,
    /// Data.
    pub data: Vec<u8>,
}

/// One of the things that happen at once.
#[derive(Clone, Debug)]
pub enum Act {
    /// The client sends.
    Send(Cut),
    /// The accomplice sends.
    Forge(Forged),
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Nothing: what was sent has had its effect.
    Sent,
    /// The server's answer to the SYN of this initial number.
    Established(i64),
    /// So many answers.
    Answered(usize),
    /// The server's FIN for the SYN of this initial number.
    Finished(i64),
}

/// Acts at once, and what they wait for.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is waited for first.
    pub until: Until,
    /// The acts.
    pub acts: Vec<Act>,
}

/// An answer that a server gives although nobody has asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// For another name.
    Name,
    /// With another identifier.
    Identifier,
    /// Before it was asked, or once more.
    Early,
}

/// How the server behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// It acknowledges late.
    pub slow: bool,
    /// An answer's length comes in a segment of its own.
    pub split: bool,
    /// It also answers what nobody has asked, with its so manieth answer.
    pub unasked: Option<(Unasked, usize)>,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Script {
    /// What an honest client asks, every bit of which is to be answered; `None` of a hostile one.
    pub expected: Option<Vec<Asked>>,
    /// Whether segments carry time stamps.
    pub stamps: bool,
    /// The largest segment that the client says to take. A SYN cookie is made from it.
    pub most: u16,
    /// How the server behaves.
    pub manner: Manner,
    /// What the client does.
    pub steps: Vec<Step>,
}

impl Script {
    /// How much the client does.
    #[must_use]
    pub fn acts(&self) -> usize {
        self.steps.iter().map(|step| step.acts.len()).sum()
    }

    /// The same but for the act with this number.
    #[must_use]
    pub fn without(&self, mut number: usize) -> Self {
        let mut less = self.clone();
        for step in &mut less.steps {
            if number < step.acts.len() {
                step.acts.remove(number);
                break;
            }
            number -= step.acts.len();
        }
        less
    }

    /// What is tried.
    pub fn tricks(&self) -> impl Iterator<Item = Trick> {
        let acts = self.steps.iter().flat_map(|step| &step.acts);
        let unasked = self.manner.unasked.map(|_| Trick::Unasked);
        acts.map(Act::trick).chain(unasked)
    }
}

impl Act {
    /// Why it is done.
    #[must_use]
    pub const fn trick(&self) -> Trick {
        match self {
            Self::Send(cut) => cut.trick,
            Self::Forge(forged) => forged.trick,
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(cut) => {
                let Cut { trick, at, base, flags, data, acknowledged, urgent, window, dud } = cut;
                write!(f, "{} [{}] {at}+{}", trick.as_str(), letters(*flags), data.len())?;
                if *base != 0 {
                    write!(f, " base {base}")?;
                }
                if *acknowledged != Acknowledged::All {
                    write!(f, " {acknowledged:?}")?;
                }
                if *flags & crate::segment::URG != 0 {
                    write!(f, " urgent {urgent}")?;
                }
                if *window == 0 {
                    f.write_str(" no window")?;
                }
                if let Some(dud) = dud {
                    write!(f, " {dud:?}")?;
                }
                write!(f, " {}", data.escape_ascii())
            }
            Self::Forge(Forged { trick, flags, acknowledged, data, .. }) => {
                let (name, flags) = (trick.as_str(), letters(*flags));
                write!(f, "{name} [{flags}] acknowledges {acknowledged} {}", data.escape_ascii())
            }
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.expected.is_some() { "honest" } else { "hostile" };
        let Self { stamps, most, manner, .. } = self;
        writeln!(f, "{kind}, time stamps {stamps}, segments {most}, server {manner:?}")?;
        for (number, step) in self.steps.iter().enumerate() {
            for act in &step.acts {
                writeln!(f, "  {number}. {act}")?;
            }
            if step.until != Until::Sent {
                writeln!(f, "  {number}. after {:?}", step.until)?;
            }
        }
        Ok(())
    }
}
