//! Netlink: requests to the kernel, and its answers message by message.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvfrom, sendto,
    socket,
};

/// `struct nlmsghdr`: length, type, flags, sequence number, port.
const HEADER: usize = 16;

/// Messages begin at multiples of this (`NLMSG_ALIGNTO`).
const ALIGNMENT: usize = 4;

/// What the kernel fills at once when it lists many things (`netlink_dump`).
const BUFFER: usize = 32 * 1024;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) body: &'a [u8],
}

/// The messages of one datagram. One that claims to be longer than the rest, or
/// shorter than its header, ends it.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
        let message = rest
            .get(..length)
            .filter(|message| message.len() >= HEADER)?;
        rest = rest
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([message[4], message[5]]),
            body: &message[HEADER..],
        })
    })
}

/// A socket for one netlink protocol, in the network namespace of the thread
/// that opens it.
pub(super) struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Netlink {
    pub(super) fn open(protocol: SockProtocol) -> io::Result<Netlink> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )?;
        let buffer = vec![0; BUFFER];
        Ok(Netlink { socket, buffer })
    }

    /// Asks for one thing, and waits for the kernel's word on it.
    pub(super) fn request(&mut self, kind: u16, body: &[u8]) -> io::Result<()> {
        self.send(kind, libc::NLM_F_ACK, body)?;
        let answer = self.receive()?;
        let word = messages(answer).find(|message| message.kind == libc::NLMSG_ERROR as u16);
        word.map_or(Err(io::ErrorKind::InvalidData.into()), |word| {
            outcome(word.body)
        })
    }

    /// Asks for a list.
    pub(super) fn begin_list(&mut self, kind: u16, body: &[u8]) -> io::Result<()> {
        self.send(kind, libc::NLM_F_DUMP, body)
    }

    /// Takes the next part of the list, and hands on the body of each of its
    /// messages. False when the list has ended.
    pub(super) fn next_part(
        &mut self,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        for message in messages(self.receive()?) {
            match i32::from(message.kind) {
                libc::NLMSG_DONE => return end(message.body).map(|()| false),
                libc::NLMSG_ERROR => return outcome(message.body).map(|()| false),
                _ => each(message.body)?,
            }
        }
        Ok(true)
    }

    fn send(&self, kind: u16, flags: i32, body: &[u8]) -> io::Result<()> {
        let flags = (libc::NLM_F_REQUEST | flags) as u16;
        let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        let kernel = NetlinkAddr::new(0, 0);
        sendto(
            self.socket.as_raw_fd(),
            &message,
            &kernel,
            MsgFlags::empty(),
        )?;
        Ok(())
    }

    /// One datagram from the kernel: others may write to this socket too.
    fn receive(&mut self) -> io::Result<&[u8]> {
        loop {
            let (length, sender) =
                recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), &mut self.buffer)?;
            match (length, sender) {
                // The kernel does not hang up; an empty datagram would never end.
                (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
                (_, Some(sender)) if sender.pid() != 0 => {}
                (length, _) => return Ok(&self.buffer[..length]),
            }
        }
    }
}

/// What ends a list begins with −errno if the list could not be made.
fn end(body: &[u8]) -> io::Result<()> {
    match body.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(negative) if negative < 0 => outcome(body),
        _ => Ok(()),
    }
}

/// A `struct nlmsgerr` begins with 0 or −errno.
fn outcome(body: &[u8]) -> io::Result<()> {
    match body.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(0) => Ok(()),
        Some(negative) => Err(Errno::from_raw(negative.wrapping_neg()).into()),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes
    }

    #[test]
    fn messages_are_taken_apart() {
        let datagram = [message(20, b"abc"), message(21, b""), message(22, b"defg")].concat();
        let found: Vec<_> = messages(&datagram).map(|m| (m.kind, m.body)).collect();
        assert_eq!(found, [(20, &b"abc"[..]), (21, b""), (22, b"defg")]);
    }

    #[test]
    fn a_wrong_length_ends_them() {
        for length in [0_u32, 15, 21, u32::MAX] {
            let mut datagram = message(20, b"abcd");
            datagram[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(messages(&datagram).count(), 0, "{length}");
        }
    }

    #[test]
    fn the_kernels_word_is_an_errno() {
        assert!(outcome(&0_i32.to_ne_bytes()).is_ok());
        let refused = outcome(&(-libc::EPERM).to_ne_bytes()).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
        assert!(outcome(&i32::MIN.to_ne_bytes()).is_err());
        assert!(outcome(b"abc").is_err());
        assert!(end(&(-libc::ENOENT).to_ne_bytes()).is_err());
        assert!(end(&0_i32.to_ne_bytes()).is_ok() && end(b"").is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let inside: usize = messages(&bytes).map(|m| m.body.len() + HEADER).sum();
            prop_assert!(inside <= bytes.len());
        }

        #[test]
        fn what_is_put_together_is_taken_apart(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..9),
        ) {
            let datagram: Vec<u8> = bodies.iter().flat_map(|body| message(20, body)).collect();
            let found: Vec<&[u8]> = messages(&datagram).map(|m| m.body).collect();
            prop_assert_eq!(found, bodies.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
    }
}
