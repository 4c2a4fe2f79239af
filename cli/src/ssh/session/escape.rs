//! Escape sequences for vctl itself: `~` at the beginning of a line.

/// Text shown by `~?`.
pub(super) const HELP: &str = "\
Supported escapes:
  ~.   end the connection
  ~^Z  suspend vctl
  ~?   show this list
  ~~   send a ~
They are recognized only at the beginning of a line.";

/// Typed input, or an escape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Data(Vec<u8>),
    Disconnect,
    Help,
    Suspend,
}

/// Parser of escapes, with its position in the line.
#[derive(Debug, Default)]
pub(super) struct Escapes {
    at: At,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    LineStart,
    Tilde,
    Within,
}

impl Escapes {
    /// Parses typed input, which may arrive in any pieces.
    pub(super) fn feed(&mut self, typed: &[u8]) -> Vec<Event> {
        let (mut events, mut data) = (Vec::new(), Vec::new());
        for &byte in typed {
            let (event, next) = match (self.at, byte) {
                (At::LineStart, b'~') => (None, At::Tilde),
                (At::Tilde, b'.') => (Some(Event::Disconnect), At::LineStart),
                (At::Tilde, b'?') => (Some(Event::Help), At::LineStart),
                (At::Tilde, 0x1a) => (Some(Event::Suspend), At::LineStart),
                (at, byte) => {
                    // The tilde was not an escape; `~~` sends one tilde.
                    if at == At::Tilde && byte != b'~' {
                        data.push(b'~');
                    }
                    data.push(byte);
                    let start = matches!(byte, b'\r' | b'\n');
                    (None, if start { At::LineStart } else { At::Within })
                }
            };
            self.at = next;
            if let Some(event) = event {
                if !data.is_empty() {
                    events.push(Event::Data(std::mem::take(&mut data)));
                }
                events.push(event);
            }
        }
        if !data.is_empty() {
            events.push(Event::Data(data));
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &str) -> Event {
        Event::Data(text.into())
    }

    #[test]
    fn tilde_is_an_escape_only_at_the_beginning_of_a_line() {
        let mut escapes = Escapes::default();
        assert_eq!(escapes.feed(b"ls ~.\r"), [data("ls ~.\r")]);
        assert_eq!(escapes.feed(b"~."), [Event::Disconnect]);
        assert_eq!(Escapes::default().feed(b"~."), [Event::Disconnect]);
        let typed = Escapes::default().feed(b"echo\r~?pwd\r~\x1a");
        let wanted = [data("echo\r"), Event::Help, data("pwd\r"), Event::Suspend];
        assert_eq!(typed, wanted);
    }

    #[test]
    fn other_tildes_are_sent() {
        assert_eq!(Escapes::default().feed(b"~~"), [data("~")]);
        assert_eq!(Escapes::default().feed(b"~/bin\r"), [data("~/bin\r")]);
        assert_eq!(Escapes::default().feed(b"~~.\r"), [data("~.\r")]);
    }

    #[test]
    fn escapes_are_recognized_in_any_pieces() {
        let text = b"a\r~b\r~~\r~?c\r~.";
        let mut escapes = Escapes::default();
        let mut sent = Vec::new();
        let mut others = Vec::new();
        for byte in text {
            for event in escapes.feed(&[*byte]) {
                match event {
                    Event::Data(data) => sent.extend(data),
                    other => others.push(other),
                }
            }
        }
        assert_eq!(sent, b"a\r~b\r~\rc\r");
        assert_eq!(others, [Event::Help, Event::Disconnect]);
    }
}
