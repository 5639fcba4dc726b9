//! Redirect URIs, held against how browsers read addresses (the `url` crate is the WHATWG's parser): whatever may be
//! registered or redirected to leads to this machine, and a presented one differs in its port alone.

#![no_main]

use doorward_core::redirect::RedirectUri;
use libfuzzer_sys::fuzz_target;
use url::Url;

/// Path and query of an address on the loopback interface, as a browser reads it.
fn on_loopback(text: &str) -> (String, Option<String>) {
    let url = Url::parse(text).unwrap_or_else(|error| panic!("no browser reads {text:?}: {error}"));
    assert_eq!((url.scheme(), url.host_str()), ("http", Some("127.0.0.1")), "{text:?}");
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none(), "{text:?}");
    (url.path().to_owned(), url.query().map(str::to_owned))
}

fuzz_target!(|data: (&str, &str)| {
    let (registered, presented) = data;
    let Ok(uri) = RedirectUri::register(registered, &[]) else { return };
    let expected = on_loopback(registered);
    assert!(uri.matches(registered));
    if uri.matches(presented) {
        assert_eq!(on_loopback(presented), expected, "{registered:?} {presented:?}");
    }
});
