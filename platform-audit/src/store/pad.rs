use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Random bytes that one transaction and its database share, at most once used: what its records
/// are sealed with (a one-time pad).
///
/// The records travel in the text of the message that commits, which saves a round trip. A server
/// that cannot run a message writes its text to its log, where personal data must not stand;
/// sealed, it holds nothing. The pad itself was in the message that began the transaction, and
/// such a message does not fail.
pub(crate) struct Pad(Vec<u8>);

impl Pad {
    fn new(bytes: usize) -> Self {
        let mut pad = vec![0; bytes];
        rand::fill(&mut pad[..]);
        Self(pad)
    }

    /// `text` in hexadecimal, each byte of it combined with one of the pad's; `None` if it is
    /// longer than the pad.
    pub(crate) fn seal(self, text: &str) -> Option<String> {
        let Self(mut pad) = self;
        if text.len() > pad.len() {
            return None;
        }
        pad.truncate(text.len());
        for (sealed, byte) in pad.iter_mut().zip(text.bytes()) {
            *sealed ^= byte;
        }
        Some(hex::encode(&pad))
    }
}

/// In hexadecimal.
impl fmt::Display for Pad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Pad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pad({} bytes)", self.0.len())
    }
}

/// Whether transactions are given pads, and how long.
///
/// To seal, send and open a record costs the two machines some 30 µs of work, and saves a round
/// trip: worth it where the server is not on the same machine.
#[derive(Debug)]
pub(crate) struct Pads {
    /// What was chosen; measured if `None`.
    one_message: Option<bool>,
    /// Nanoseconds. The shortest that was seen of late, since a longer one also waited for a
    /// processor.
    round_trip: AtomicU64,
    /// Bytes: enough for the service's records of late.
    length: AtomicUsize,
}

impl Pads {
    const FIRST: usize = 512;
    const LONGEST: usize = 8 * 1024;
    const STEP: usize = 128;
    /// A server that takes this long to answer is across a network.
    const FAR: Duration = Duration::from_micros(250);

    pub(crate) fn new(one_message: Option<bool>) -> Self {
        Self {
            one_message,
            round_trip: AtomicU64::new(0),
            length: AtomicUsize::new(Self::FIRST),
        }
    }

    pub(crate) fn pad(&self) -> Option<Pad> {
        let far = || Duration::from_nanos(self.round_trip.load(Ordering::Relaxed)) >= Self::FAR;
        self.one_message
            .unwrap_or_else(far)
            .then(|| Pad::new(self.length.load(Ordering::Relaxed)))
    }

    /// Takes note of how long a BEGIN took. A shorter one counts at once; towards a longer one
    /// the figure grows by a thousandth of the difference.
    pub(crate) fn begun(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let known = self.round_trip.load(Ordering::Relaxed);
        // The first counts whole.
        let now = if took < known || known == 0 {
            took
        } else {
            known + (took - known) / 1000
        };
        self.round_trip.store(now, Ordering::Relaxed);
    }

    /// Takes note that records of a transaction were `bytes` long. Longer ones count at once; towards
    /// shorter ones the figure goes by a sixty-fourth of the difference, as each byte of a pad costs, and
    /// one long record says little of the next. Those that are longer than the longest pad are not
    /// sealed, and change nothing.
    pub(crate) fn written(&self, bytes: usize) {
        if bytes > Self::LONGEST {
            return;
        }
        let known = self.length.load(Ordering::Relaxed);
        let now = match known.checked_sub(bytes) {
            Some(spare) => known - spare / 64,
            None => bytes.next_multiple_of(Self::STEP),
        };
        self.length.store(now, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Pad, Pads};

    #[test]
    fn what_is_sealed_is_had_back_with_the_pad_alone() {
        let pad = Pad::new(64);
        let bytes = pad.0.clone();
        let text = r#"[{"actor_id":"ada"}]"#;
        let sealed = pad.seal(text).and_then(|it| hex::decode(it).ok()).unwrap();
        assert_eq!(sealed.len(), text.len());
        assert_ne!(sealed, text.as_bytes());
        let opened: Vec<u8> = sealed.iter().zip(&bytes).map(|(a, b)| a ^ b).collect();
        assert_eq!(opened, text.as_bytes());
    }

    #[test]
    fn nothing_longer_than_the_pad_is_sealed() {
        assert!(Pad::new(4).seal("12345").is_none());
        assert!(Pad::new(4).seal("1234").is_some());
    }

    #[test]
    fn two_pads_differ() {
        assert_ne!(Pad::new(32).0, Pad::new(32).0);
        let shown = format!("{:?}", Pad::new(32));
        assert_eq!(shown, "Pad(32 bytes)", "no pad is printed");
    }

    #[test]
    fn pads_are_as_long_as_what_was_written_of_late_up_to_their_bound() {
        let pads = Pads::new(Some(true));
        let length = || pads.pad().unwrap().0.len();
        assert_eq!(length(), 512);
        pads.written(1025);
        assert_eq!(length(), 1152);
        for _ in 0..1000 {
            pads.written(1025);
            assert!(length() >= 1025, "what is usual always fits");
        }
        pads.written(8192);
        assert_eq!(length(), 8192);
        pads.written(8193);
        assert_eq!(length(), 8192);
        for _ in 0..500 {
            pads.written(300);
        }
        assert!((300..400).contains(&length()), "{}", length());
    }

    #[test]
    fn a_server_is_far_once_no_round_trip_is_short() {
        let pads = Pads::new(None);
        assert!(pads.pad().is_none(), "nothing is known yet");
        pads.begun(Duration::from_millis(1));
        assert!(pads.pad().is_some());
        pads.begun(Duration::from_micros(90));
        assert!(pads.pad().is_none(), "it was never far, only busy");
        for _ in 0..1000 {
            pads.begun(Duration::from_millis(1));
        }
        assert!(pads.pad().is_some(), "it moved away");
        assert!(Pads::new(Some(false)).pad().is_none());
    }
}
