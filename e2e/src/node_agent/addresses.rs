//! The addresses of pods, out of 10.244.0.0/16.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
};

/// Whole /24 networks are left out at the start, for whatever else wants to look like a pod.
const FIRST: u16 = 0x0100;
/// The broadcast address and a few more are left out.
const LAST: u16 = 0xfff0;

/// Hands addresses out in turn, so that one that was given back rests as long as can be: a gateway
/// that has not heard of a pod's end must not reach another pod in its place.
#[derive(Debug)]
pub(super) struct Addresses {
    next: u16,
    taken: HashSet<u16>,
}

// === impl Addresses ===

impl Addresses {
    pub(super) fn take(&mut self) -> Option<IpAddr> {
        if self.taken.len() > usize::from(LAST - FIRST) {
            return None;
        }
        loop {
            let candidate = self.next;
            self.next = if candidate == LAST {
                FIRST
            } else {
                candidate + 1
            };
            if self.taken.insert(candidate) {
                let [high, low] = candidate.to_be_bytes();
                return Some(Ipv4Addr::new(10, 244, high, low).into());
            }
        }
    }

    pub(super) fn give_back(&mut self, address: IpAddr) {
        if let IpAddr::V4(address) = address {
            let [_, _, high, low] = address.octets();
            self.taken.remove(&u16::from_be_bytes([high, low]));
        }
    }
}

impl Default for Addresses {
    fn default() -> Self {
        Self {
            next: FIRST,
            taken: HashSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn an_address_given_back_is_the_last_to_be_taken_again() {
        let mut addresses = Addresses::default();
        let first = addresses.take().unwrap();
        assert_eq!(first.to_string(), "10.244.1.0");
        addresses.give_back(first);
        let others: HashSet<_> = (FIRST..LAST).map(|_| addresses.take().unwrap()).collect();
        assert!(!others.contains(&first));
        assert_eq!(addresses.take(), Some(first));
        assert_eq!(addresses.take(), None);
    }
}
