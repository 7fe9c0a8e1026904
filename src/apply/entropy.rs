// SPDX-License-Identifier: MIT OR Apache-2.0
//! Is the kernel's random pool ready? Keys are made only then, getrandom(2).

use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// Waits at most so long for the pool; `None` waits for ever. `stop` is asked between looks.
pub fn wait(most: Option<Duration>, stop: &mut dyn FnMut() -> bool) -> bool {
    wait_for(is_ready, most, stop)
}

fn is_ready() -> bool {
    // A kernel without the call (before 3.17) has no such notion; /dev/urandom is all there is.
    getrandom(&mut [0; 1], GetRandomFlags::NONBLOCK) != Err(Errno::AGAIN)
}

fn wait_for(ready: impl Fn() -> bool, most: Option<Duration>, stop: &mut dyn FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !ready() {
        if stop() || most.is_some_and(|most| started.elapsed() >= most) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn it_waits_for_the_pool_but_not_for_ever() {
        assert!(wait(Some(Duration::ZERO), &mut || false), "a machine that runs tests has a pool");
        assert!(!wait_for(|| false, Some(Duration::from_millis(60)), &mut || false));
        assert!(!wait_for(|| false, None, &mut || true));
        let looks = Cell::new(0);
        assert!(wait_for(|| looks.replace(looks.get() + 1) == 2, None, &mut || false));
    }
}
