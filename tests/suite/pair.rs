//! Connections of which the test holds both ends, and what `sockets` says of them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use nix::libc;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use serde_json::Value;

use crate::command::run;

/// A connection, of which this process holds both ends.
pub struct Pair {
    pub client: TcpStream,
    pub server: TcpStream,
}

impl Pair {
    pub fn at(address: &str) -> Pair {
        let listener = TcpListener::bind(address).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        Pair { client, server }
    }

    pub fn new() -> Pair {
        Pair::at("127.0.0.1:0")
    }

    /// With keepalive on at the client's end, armed under what is in force.
    pub fn kept() -> Pair {
        let pair = Pair::new();
        setsockopt(&pair.client, sockopt::KeepAlive, &true).unwrap();
        pair
    }

    pub fn port(&self) -> u16 {
        self.client.local_addr().unwrap().port()
    }

    /// No segment reaches either end any more.
    pub fn cut(&self) {
        for end in [&self.client, &self.server] {
            let mut nothing = [libc::sock_filter {
                code: (libc::BPF_RET | libc::BPF_K) as u16,
                jt: 0,
                jf: 0,
                k: 0,
            }];
            let filter = libc::sock_fprog {
                len: 1,
                filter: nothing.as_mut_ptr(),
            };
            // SAFETY: the kernel copies the program, which outlives the call.
            let done = unsafe {
                libc::setsockopt(
                    end.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_ATTACH_FILTER,
                    (&raw const filter).cast(),
                    size_of_val(&filter) as u32,
                )
            };
            assert_eq!(done, 0);
        }
    }
}

/// What is said of one end.
pub fn find(list: &Value, end: &TcpStream) -> Value {
    let at = |address: SocketAddr| address.to_string();
    let (local, remote) = (at(end.local_addr().unwrap()), at(end.peer_addr().unwrap()));
    let mut all = list.as_array().unwrap().iter();
    let found = all.find(|socket| socket["local"] == local && socket["remote"] == remote);
    found
        .unwrap_or_else(|| panic!("no {local} {remote} in {list}"))
        .clone()
}

pub fn list(arguments: &str) -> Value {
    run(&format!("sockets --json {arguments}")).code(0).json()
}

pub fn count(arguments: &str) -> usize {
    list(arguments).as_array().unwrap().len()
}

/// Whether keepalive is on, as this process's own socket says.
pub fn is_on(end: &TcpStream) -> bool {
    getsockopt(end, sockopt::KeepAlive).unwrap()
}

pub fn seconds(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}
