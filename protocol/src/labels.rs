//! Closed lists of words.
//!
//! Owns how such a list is declared, so that each word is written once. Must never hold a list itself.

/// A closed list of words: its label on the wire, in metrics and in the documents.
macro_rules! labels {
    ($(#[$docs:meta])* $name:ident { $($(#[$variant_docs:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$docs])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_docs])* #[serde(rename = $label)] $variant,)+
        }

        impl $name {
            /// Every member, in the order of the documents.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The label as it travels.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use labels;
