//! Any datagram in the place of the kernel's answer: no panic, and no socket
//! that is not in it.

#![no_main]

use keepalivectl::kernel::sock_diag::sockets_in;
use libfuzzer_sys::fuzz_target;

/// `struct nlmsghdr` and `struct inet_diag_msg`.
const LEAST: usize = 16 + 72;

fuzz_target!(|datagram: &[u8]| {
    let (mut all, mut sockets) = (0, 0);
    for socket in sockets_in(datagram) {
        all += 1;
        sockets += usize::from(socket.is_some());
    }
    assert!(all * 16 <= datagram.len().next_multiple_of(4));
    assert!(sockets * LEAST <= datagram.len().next_multiple_of(4));
});
