//! One value for each transport protocol, which JSON and the configuration have under its word.

use std::{
    collections::BTreeSet,
    fmt,
    marker::PhantomData,
    ops::{Index, IndexMut},
};

use intune_filter_ebpf::abi::TransportProtocol;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap as _,
};

/// One value for each transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PerProtocol<T>([T; TransportProtocol::ALL.len()]);

/// The words of the protocols, such as `tcp or udp`.
#[must_use]
pub fn protocols(separator: &str) -> String {
    TransportProtocol::ALL.map(TransportProtocol::as_str).join(separator)
}

impl<T> PerProtocol<T> {
    /// The value of each protocol.
    #[must_use]
    pub fn from_fn(value: impl FnMut(TransportProtocol) -> T) -> Self {
        Self(TransportProtocol::ALL.map(value))
    }

    /// Each protocol and its value.
    pub fn iter(&self) -> impl Iterator<Item = (TransportProtocol, &T)> {
        TransportProtocol::ALL.into_iter().zip(&self.0)
    }

    /// Another value for each.
    #[must_use]
    pub fn map<U>(&self, mut to: impl FnMut(&T) -> U) -> PerProtocol<U> {
        PerProtocol::from_fn(|protocol| to(&self[protocol]))
    }

    /// Whether something holds for every value.
    #[must_use]
    pub fn all(&self, holds: impl FnMut(&T) -> bool) -> bool {
        self.0.iter().all(holds)
    }
}

#[expect(clippy::indexing_slicing, reason = "each protocol has its place")]
impl<T> Index<TransportProtocol> for PerProtocol<T> {
    type Output = T;

    fn index(&self, protocol: TransportProtocol) -> &T {
        &self.0[protocol.position() as usize]
    }
}

#[expect(clippy::indexing_slicing, reason = "each protocol has its place")]
impl<T> IndexMut<TransportProtocol> for PerProtocol<T> {
    fn index_mut(&mut self, protocol: TransportProtocol) -> &mut T {
        &mut self.0[protocol.position() as usize]
    }
}

/// A list of ports as JSON has it.
pub trait Field: Serialize {
    /// Whether the key is left out.
    fn is_absent(&self) -> bool {
        false
    }
}

impl<T: Serialize> Field for Vec<T> {}

impl<T: Serialize> Field for BTreeSet<T> {}

impl<T: Serialize> Field for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Field> Serialize for PerProtocol<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (protocol, value) in self.iter().filter(|(_, value)| !value.is_absent()) {
            map.serialize_entry(protocol.as_str(), value)?;
        }
        map.end()
    }
}

/// What is missing is empty, as a release has it that knows fewer protocols.
impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for PerProtocol<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Values<T> {
            type Value = PerProtocol<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a map with {}", protocols(" and "))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut values = PerProtocol::from_fn(|_| T::default());
                while let Some(key) = map.next_key::<String>()? {
                    let mut all = TransportProtocol::ALL.into_iter();
                    match all.find(|protocol| protocol.as_str() == key) {
                        Some(protocol) => values[protocol] = map.next_value()?,
                        None => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(values)
            }
        }

        deserializer.deserialize_map(Values(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{PortRange, Ports};

    #[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    struct Rule {
        id: String,
        #[serde(flatten)]
        ports: Ports,
        #[serde(flatten)]
        given: Given,
    }

    #[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    struct Given {
        last: u32,
    }

    #[test]
    fn a_rule_has_the_ports_under_the_words_of_the_protocols() {
        let mut rule = Rule { id: "a".into(), ..Rule::default() };
        rule.ports[TransportProtocol::Udp] = vec!["53".parse().unwrap()];
        let text = serde_json::to_string(&rule).unwrap();
        assert_eq!(text, r#"{"id":"a","tcp":[],"udp":["53"],"last":0}"#);
        assert_eq!(serde_json::from_str::<Rule>(&text).unwrap(), rule);
        let older: Rule = serde_json::from_str(r#"{"id":"a","udp":[53],"last":0}"#).unwrap();
        assert_eq!(older, rule);
    }

    #[test]
    fn what_is_not_given_is_not_written() {
        let mut given = PerProtocol::<Option<Vec<PortRange>>>::default();
        given[TransportProtocol::Tcp] = Some(Vec::new());
        assert_eq!(serde_json::to_string(&given).unwrap(), r#"{"tcp":[]}"#);
        assert_eq!(serde_json::from_str::<PerProtocol<_>>(r#"{"tcp":[],"x":1}"#).unwrap(), given);
    }

    #[test]
    fn each_protocol_has_a_number_a_word_and_a_place() {
        for (at, protocol) in TransportProtocol::ALL.into_iter().enumerate() {
            assert_eq!(protocol.position() as usize, at);
            assert_eq!(TransportProtocol::of(protocol.number()), Some(protocol));
            assert!(intune_filter_ebpf::abi::has_ports(protocol.number()));
        }
        assert_eq!(TransportProtocol::of(1), None);
        assert!(protocols(" or ").starts_with("tcp or udp"));
    }
}
