//! Methods that a route does not know, and paths that are no route.

use axum::body::Body;
use http::{Method, Request};

use crate::world::{Expected, PORTAL, POSTS, Row, SPOKEN_TWICE};

const METHODS: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"];
const NO_METHOD: Expected = Expected::Oidc(405, "InvalidRequestException");
const NO_PORTAL_METHOD: Expected = Expected::Portal(405, "MethodNotAllowedException");
const NOT_FOUND: Expected = Expected::Oidc(404, "InvalidRequestException");

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (path, _) in POSTS {
        // Scripts of applications ask before they post a form.
        let asked_first = |method: &str| method == "OPTIONS" && SPOKEN_TWICE.contains(&path);
        for method in METHODS.into_iter().filter(|method| *method != "POST" && !asked_first(method)) {
            rows.push(row(method, path, NO_METHOD));
        }
        rows.push(row("HEAD", path, Expected::Head(405, "InvalidRequestException")));
    }
    for (right, path) in PORTAL {
        for method in METHODS.into_iter().filter(|method| *method != right.as_str()) {
            rows.push(row(method, path, NO_PORTAL_METHOD));
        }
        let head = if right == Method::GET {
            (401, "UnauthorizedException")
        } else {
            (405, "MethodNotAllowedException")
        };
        rows.push(row("HEAD", path, Expected::Head(head.0, head.1)));
    }
    for method in ["POST", "PUT", "DELETE", "BREW"] {
        rows.push(row(method, "/healthz", NO_METHOD));
        rows.push(row(method, "/", NO_METHOD));
    }
    for method in ["PUT", "DELETE", "BREW"] {
        rows.push(row(method, "/authorize", NO_METHOD));
    }
    for path in UNKNOWN {
        rows.push(row("GET", path, NOT_FOUND));
        rows.push(row("POST", path, NOT_FOUND));
    }
    for path in
        ["/assets/no.css", "/assets/..%2f..%2fseed.toml", "/assets/%2e%2e", "/assets/%00", "/assets/%zz"]
    {
        rows.push(row("GET", path, NOT_FOUND));
    }
    rows
}

fn row(method: &str, target: &str, expected: Expected) -> Row {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let request = Request::builder().method(&method).uri(target).body(Body::from("{"));
    Row { name: format!("{method} {target}"), request: request.expect("a request"), expected }
}

/// Paths that are nearly a route, that try to leave it, or that only a development server has.
const UNKNOWN: [&str; 37] = [
    "/token/",
    "/client/register/",
    "/device_authorization/",
    "/federation/credentials/",
    "/assignment/accounts/",
    "/assignment/roles/",
    "/logout/",
    "/authorize/",
    "/client",
    "/client/",
    "/assignment",
    "/federation",
    "//token",
    "/./token",
    "/x/../token",
    "/token/../token",
    "/token/.",
    "/%74oken",
    "/%2ftoken",
    "/token%2f",
    "/token%00",
    "/token%20",
    "/token;x=1",
    "/token.json",
    "/TOKEN",
    "/Token",
    "/prefix/token",
    "/..%2f..%2fetc%2fpasswd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/.git/config",
    "/.well-known/security.txt",
    "/%FF",
    "/%",
    "/%zz",
    "/dev/clock",
    "/dev/faults",
    "/assets/a/b",
];
