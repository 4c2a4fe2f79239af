//! What a person may type that is for us and not for the host: `~` at the beginning of a line.

/// What `~?` shows.
pub(super) const HELP: &str = "\
Supported escapes:
  ~.   end the connection
  ~^Z  put it into the background
  ~?   this
  ~~   send a ~
They count only at the beginning of a line.";

/// Something that was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Data(Vec<u8>),
    Disconnect,
    Help,
    Suspend,
}

/// Where in a line we are.
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
    /// Takes what was typed, in whatever pieces it comes.
    pub(super) fn feed(&mut self, typed: &[u8]) -> Vec<Event> {
        let (mut events, mut data) = (Vec::new(), Vec::new());
        for &byte in typed {
            let (event, next) = match (self.at, byte) {
                (At::LineStart, b'~') => (None, At::Tilde),
                (At::Tilde, b'.') => (Some(Event::Disconnect), At::LineStart),
                (At::Tilde, b'?') => (Some(Event::Help), At::LineStart),
                (At::Tilde, 0x1a) => (Some(Event::Suspend), At::LineStart),
                (at, byte) => {
                    // It was only a tilde; typed twice, once is meant.
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
    fn only_at_the_beginning_of_a_line_a_tilde_is_for_us() {
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
    fn pieces_change_nothing() {
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
