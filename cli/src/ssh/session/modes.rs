//! The modes of the local terminal as SSH encodes them: RFC 4254, section 8, and `IUTF8` of RFC 8160.

use std::io;
use std::os::fd::AsFd as _;

use nix::libc;
use nix::sys::termios::{
    ControlFlags, InputFlags, LocalFlags, OutputFlags, SpecialCharacterIndices, Termios, tcgetattr,
};
use russh::Pty;

/// Speed used if the terminal's is unknown: with 0, some programs take the line for disconnected.
const SPEED: u32 = 38_400;

/// SSH's value of a disabled character.
const DISABLED: u32 = 255;

const CHARACTERS: &[(Pty, SpecialCharacterIndices)] = &[
    (Pty::VINTR, SpecialCharacterIndices::VINTR),
    (Pty::VQUIT, SpecialCharacterIndices::VQUIT),
    (Pty::VERASE, SpecialCharacterIndices::VERASE),
    (Pty::VKILL, SpecialCharacterIndices::VKILL),
    (Pty::VEOF, SpecialCharacterIndices::VEOF),
    (Pty::VEOL, SpecialCharacterIndices::VEOL),
    (Pty::VEOL2, SpecialCharacterIndices::VEOL2),
    (Pty::VSTART, SpecialCharacterIndices::VSTART),
    (Pty::VSTOP, SpecialCharacterIndices::VSTOP),
    (Pty::VSUSP, SpecialCharacterIndices::VSUSP),
    (Pty::VREPRINT, SpecialCharacterIndices::VREPRINT),
    (Pty::VWERASE, SpecialCharacterIndices::VWERASE),
    (Pty::VLNEXT, SpecialCharacterIndices::VLNEXT),
    (Pty::VDISCARD, SpecialCharacterIndices::VDISCARD),
    #[cfg(target_os = "linux")]
    (Pty::VSWTCH, SpecialCharacterIndices::VSWTC),
    #[cfg(target_os = "macos")]
    (Pty::VDSUSP, SpecialCharacterIndices::VDSUSP),
    #[cfg(target_os = "macos")]
    (Pty::VSTATUS, SpecialCharacterIndices::VSTATUS),
];

const INPUT: &[(Pty, InputFlags)] = &[
    (Pty::IGNPAR, InputFlags::IGNPAR),
    (Pty::PARMRK, InputFlags::PARMRK),
    (Pty::INPCK, InputFlags::INPCK),
    (Pty::ISTRIP, InputFlags::ISTRIP),
    (Pty::INLCR, InputFlags::INLCR),
    (Pty::IGNCR, InputFlags::IGNCR),
    (Pty::ICRNL, InputFlags::ICRNL),
    (Pty::IXON, InputFlags::IXON),
    (Pty::IXANY, InputFlags::IXANY),
    (Pty::IXOFF, InputFlags::IXOFF),
    (Pty::IMAXBEL, InputFlags::IMAXBEL),
    (Pty::IUTF8, InputFlags::IUTF8),
    #[cfg(target_os = "linux")]
    (Pty::IUCLC, InputFlags::from_bits_retain(libc::IUCLC)),
];

const LOCAL: &[(Pty, LocalFlags)] = &[
    (Pty::ISIG, LocalFlags::ISIG),
    (Pty::ICANON, LocalFlags::ICANON),
    (Pty::ECHO, LocalFlags::ECHO),
    (Pty::ECHOE, LocalFlags::ECHOE),
    (Pty::ECHOK, LocalFlags::ECHOK),
    (Pty::ECHONL, LocalFlags::ECHONL),
    (Pty::NOFLSH, LocalFlags::NOFLSH),
    (Pty::TOSTOP, LocalFlags::TOSTOP),
    (Pty::IEXTEN, LocalFlags::IEXTEN),
    (Pty::ECHOCTL, LocalFlags::ECHOCTL),
    (Pty::ECHOKE, LocalFlags::ECHOKE),
    (Pty::PENDIN, LocalFlags::PENDIN),
    #[cfg(target_os = "linux")]
    (Pty::XCASE, LocalFlags::from_bits_retain(libc::XCASE)),
];

const OUTPUT: &[(Pty, OutputFlags)] = &[
    (Pty::OPOST, OutputFlags::OPOST),
    (Pty::ONLCR, OutputFlags::ONLCR),
    (Pty::OCRNL, OutputFlags::OCRNL),
    (Pty::ONOCR, OutputFlags::ONOCR),
    (Pty::ONLRET, OutputFlags::ONLRET),
    #[cfg(target_os = "linux")]
    (Pty::OLCUC, OutputFlags::from_bits_retain(libc::OLCUC)),
];

/// Returns the modes of the local terminal, so that the host can set its own to the same.
pub(super) fn of_terminal() -> Vec<(Pty, u32)> {
    tcgetattr(io::stdin().as_fd()).map_or_else(|_| Vec::new(), |termios| of(&termios))
}

fn of(termios: &Termios) -> Vec<(Pty, u32)> {
    let characters = CHARACTERS.iter().map(|(mode, index)| {
        let character = termios.control_chars[*index as usize];
        let disabled = character == libc::_POSIX_VDISABLE;
        (
            *mode,
            if disabled {
                DISABLED
            } else {
                u32::from(character)
            },
        )
    });
    let input = INPUT.iter();
    let input = input.map(|(mode, flag)| (*mode, termios.input_flags.contains(*flag).into()));
    let local = LOCAL.iter();
    let local = local.map(|(mode, flag)| (*mode, termios.local_flags.contains(*flag).into()));
    let output = OUTPUT.iter();
    let output = output.map(|(mode, flag)| (*mode, termios.output_flags.contains(*flag).into()));
    let control = termios.control_flags;
    let size = control & ControlFlags::CSIZE;
    // A server clears both size bits if `CS8` is off, so `CS7` comes after it.
    let control = [
        (Pty::CS8, (size == ControlFlags::CS8).into()),
        (Pty::CS7, (size == ControlFlags::CS7).into()),
        (Pty::PARENB, control.contains(ControlFlags::PARENB).into()),
        (Pty::PARODD, control.contains(ControlFlags::PARODD).into()),
    ];
    // `CS7` set to off would clear a bit of `CS8`.
    let control = control.into_iter();
    let control = control.filter(|(mode, value)| *mode != Pty::CS7 || *value == 1);
    let speed = speed(termios);
    characters
        .chain(input)
        .chain(local)
        .chain(output)
        .chain(control)
        .chain([(Pty::TTY_OP_ISPEED, speed), (Pty::TTY_OP_OSPEED, speed)])
        .collect()
}

/// Returns the speed in bits per second. Input and output have the same speed on today's terminals.
#[cfg(target_os = "linux")]
fn speed(termios: &Termios) -> u32 {
    const SPEEDS: &[(libc::speed_t, u32)] = &[
        (libc::B300, 300),
        (libc::B1200, 1200),
        (libc::B2400, 2400),
        (libc::B4800, 4800),
        (libc::B9600, 9600),
        (libc::B19200, 19_200),
        (libc::B38400, 38_400),
        (libc::B57600, 57_600),
        (libc::B115200, 115_200),
        (libc::B230400, 230_400),
        (libc::B460800, 460_800),
        (libc::B921600, 921_600),
    ];
    let bits = termios.control_flags.bits() & libc::CBAUD;
    let known = SPEEDS.iter().find(|(known, _)| *known == bits);
    known.map_or(SPEED, |(_, speed)| *speed)
}

#[cfg(not(target_os = "linux"))]
fn speed(_: &Termios) -> u32 {
    SPEED
}

#[cfg(test)]
mod tests {
    use nix::pty::openpty;

    use super::*;

    fn value(modes: &[(Pty, u32)], wanted: Pty) -> Option<u32> {
        let of = |(mode, value): &(Pty, u32)| (*mode == wanted).then_some(*value);
        modes.iter().find_map(of)
    }

    #[test]
    fn flags_and_characters_are_those_of_the_terminal() {
        let pty = openpty(None, None).unwrap();
        let mut termios = tcgetattr(&pty.slave).unwrap();
        termios.input_flags = InputFlags::IUTF8 | InputFlags::IXANY;
        termios.local_flags = LocalFlags::TOSTOP;
        termios.control_chars[SpecialCharacterIndices::VWERASE as usize] = 6;
        termios.control_chars[SpecialCharacterIndices::VLNEXT as usize] = libc::_POSIX_VDISABLE;
        let modes = of(&termios);
        for (mode, wanted) in [
            (Pty::IUTF8, 1),
            (Pty::IXANY, 1),
            (Pty::IXON, 0),
            (Pty::TOSTOP, 1),
            (Pty::ECHO, 0),
            (Pty::VWERASE, 6),
            (Pty::VLNEXT, DISABLED),
            (Pty::CS8, 1),
        ] {
            assert_eq!(value(&modes, mode), Some(wanted), "{mode:?}");
        }
    }

    #[test]
    fn seven_bits_come_after_eight_that_are_off() {
        let pty = openpty(None, None).unwrap();
        let mut termios = tcgetattr(&pty.slave).unwrap();
        assert_eq!(value(&of(&termios), Pty::CS7), None);
        termios.control_flags.remove(ControlFlags::CSIZE);
        termios.control_flags.insert(ControlFlags::CS7);
        let modes = of(&termios);
        let at = |wanted| modes.iter().position(|mode| *mode == wanted).unwrap();
        assert!(at((Pty::CS8, 0)) < at((Pty::CS7, 1)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn speed_is_that_of_the_terminal() {
        let pty = openpty(None, None).unwrap();
        let mut termios = tcgetattr(&pty.slave).unwrap();
        for (bits, speed) in [(libc::B9600, 9600), (libc::B115200, 115_200)] {
            let flags = termios.control_flags.bits() & !libc::CBAUD | bits;
            termios.control_flags = ControlFlags::from_bits_retain(flags);
            assert_eq!(value(&of(&termios), Pty::TTY_OP_OSPEED), Some(speed));
        }
    }
}
