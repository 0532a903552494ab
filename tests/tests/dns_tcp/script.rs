//! Script of a client on one connection, written before it begins: steps, each some segments at
//! once.

use std::fmt;

use crate::{
    coverage::Trick,
    messages::Asked,
    segment::{ACK, PSH, SYN, letters},
};

/// Reason for a server to ignore a segment that is right otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dud {
    /// Its checksum is wrong.
    Checksum,
    /// Its hop limit ends between the gateway and the server.
    Hops,
    /// Its time stamp is old (RFC 7323 section 5).
    Stamp,
    /// A signature without an agreement (RFC 2385).
    Signature,
}

/// Acknowledgement of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// Everything that has come.
    All,
    /// So much more.
    Beyond(u32),
    /// So much less.
    Old(u32),
}

/// A segment to be sent. Sequence numbers count from the connection's initial one.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Purpose of the segment.
    pub trick: Trick,
    /// Its sequence number.
    pub at: i64,
    /// The initial sequence number of the SYN whose answer it acknowledges.
    pub base: i64,
    /// Flags.
    pub flags: u8,
    /// Data.
    pub data: Vec<u8>,
    /// Acknowledgement of the segment.
    pub acknowledged: Acknowledged,
    /// The urgent pointer.
    pub urgent: u16,
    /// The window.
    pub window: u16,
    /// Reason for the server to ignore the segment, if there is one.
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

/// Segment of an accomplice in the client's network, in the server's name.
#[derive(Clone, Debug)]
pub struct Forged {
    /// Why.
    pub trick: Trick,
    /// Flags.
    pub flags: u8,
    /// Acknowledgement, counted from the client's initial number.
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

/// Condition of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Nothing: what was sent has had its effect.
    Sent,
    /// The server's answer to the SYN of this initial number.
    Established(i64),
    /// A number of answers.
    Answered(usize),
    /// The server's FIN for the SYN of this initial number.
    Finished(i64),
}

/// Acts at once, and what they wait for.
#[derive(Clone, Debug)]
pub struct Step {
    /// Wait before the step.
    pub until: Until,
    /// The acts.
    pub acts: Vec<Act>,
}

/// An answer that a server gives without a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// For another name.
    Name,
    /// With another identifier.
    Identifier,
    /// Before it was asked, or once more.
    Early,
}

/// Behaviour of the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Whether it acknowledges late.
    pub slow: bool,
    /// An answer's length comes in a segment of its own.
    pub split: bool,
    /// It also answers what nobody has asked, with its so manieth answer.
    pub unasked: Option<(Unasked, usize)>,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Script {
    /// Questions of an honest client, all of which have to be answered; `None` of a hostile one.
    pub expected: Option<Vec<Asked>>,
    /// Whether segments carry time stamps.
    pub stamps: bool,
    /// The largest segment that the client says to take. A SYN cookie is made from it.
    pub most: u16,
    /// Behaviour of the server.
    pub manner: Manner,
    /// Steps of the client.
    pub steps: Vec<Step>,
}

impl Script {
    /// Number of the client's acts.
    #[must_use]
    pub fn acts(&self) -> usize {
        self.steps.iter().map(|step| step.acts.len()).sum()
    }

    /// The script without the act of this number.
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

    /// Tricks of the script.
    pub fn tricks(&self) -> impl Iterator<Item = Trick> {
        let acts = self.steps.iter().flat_map(|step| &step.acts);
        let unasked = self.manner.unasked.map(|_| Trick::Unasked);
        acts.map(Act::trick).chain(unasked)
    }
}

impl Act {
    /// Purpose of the act.
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
