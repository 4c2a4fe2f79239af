//! Texts that many records share, each stored once.

use std::collections::HashMap;
use std::sync::Arc;

/// A text of [`Names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(u32);

/// Names of people, hosts, roles, mounts and CAs: few different ones in very many records.
#[derive(Debug, Default)]
pub(crate) struct Names {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Names {
    /// Returns the name with this text, and stores the text if it is new.
    pub(crate) fn of(&mut self, text: &str) -> Name {
        if let Some(&number) = self.numbers.get(text) {
            return Name(number);
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        Name(number)
    }

    pub(crate) fn text(&self, name: Name) -> &str {
        let index = usize::try_from(name.0).unwrap_or(usize::MAX);
        self.texts.get(index).map_or("", |text| text)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_stored_once() {
        let mut names = Names::default();
        let (a, b) = (names.of("userpass-a"), names.of("userpass-b"));
        assert_eq!(names.of("userpass-a"), a);
        assert_eq!((names.text(a), names.text(b)), ("userpass-a", "userpass-b"));
        assert_eq!(names.texts.len(), 2);
    }
}
