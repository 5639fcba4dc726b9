//! Forms on the server's pages: just enough HTML for pages that we wrote ourselves.

/// A form, as a browser would post it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Where it is posted.
    pub action: String,
    /// Its inputs' names and values. Buttons are not among them: a person chooses one.
    pub fields: Vec<(String, String)>,
}

impl Form {
    /// The form on a page that is posted to `action`, if there is one.
    #[must_use]
    pub fn find(page: &str, action: &str) -> Option<Self> {
        Self::all(page).into_iter().find(|form| form.action == action)
    }

    /// All forms on a page.
    #[must_use]
    pub fn all(page: &str) -> Vec<Self> {
        let form = |text: &str| {
            let (opening, content) = text.split_once('>')?;
            let content = content.split("</form>").next()?;
            let fields = content.split("<input").skip(1).filter_map(|input| {
                let tag = input.split('>').next()?;
                Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()))
            });
            Some(Self { action: attribute(opening, "action")?, fields: fields.collect() })
        };
        page.split("<form").skip(1).filter_map(form).collect()
    }

    /// A field's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The form with a field filled in, or a button pressed.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(key, _)| key != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The form without a field.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(key, _)| key != name);
        self
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    Some(unescape(rest.split('"').next()?))
}

/// Text without HTML's escapes.
fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let (entity, after) = after.split_once(';').expect("an escape that ends");
        let number = entity.strip_prefix('#').map(|digits| match digits.strip_prefix('x') {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => digits.parse(),
        });
        plain.push(match (entity, number) {
            ("amp", _) => '&',
            ("lt", _) => '<',
            ("gt", _) => '>',
            ("quot", _) => '"',
            (_, Some(Ok(number))) => char::from_u32(number).expect("an escaped character"),
            _ => panic!("&{entity}; is not an escape that our pages use"),
        });
        rest = after;
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_with_its_escapes_and_without_its_buttons() {
        let page = r#"<form method="post" action="/a"><input name="x" value="1&#38;&lt;&#x22;"><input name="y">
            <button name="z" value="no">No</button></form><form action="/b"><input name="q" value="2"></form>"#;
        let form = Form::find(page, "/a").unwrap();
        assert_eq!(form.get("x"), Some("1&<\""));
        assert_eq!((form.get("y"), form.get("z"), form.get("q")), (Some(""), None, None));
        assert_eq!(form.with("x", "3").without("y").fields, [("x".to_owned(), "3".to_owned())]);
        assert_eq!(Form::all(page).len(), 2);
        assert_eq!(Form::find(page, "/c"), None);
    }
}
