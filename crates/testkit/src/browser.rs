//! A person's browser: cookies, forms, and no script.

use std::collections::BTreeMap;

use axum::body::Body;
use doorward::dev::seed;
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{Method, Request};

use crate::{Answer, Form, Kit};

/// A browser. It follows no redirect by itself, so that tests see each of them.
pub struct Browser<'k> {
    kit: &'k Kit,
    cookies: BTreeMap<String, String>,
}

/// Which button a person presses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Approve.
    Approve,
    /// Deny.
    Deny,
}

impl Choice {
    /// The button's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
        }
    }
}

impl<'k> Browser<'k> {
    pub(crate) const fn new(kit: &'k Kit) -> Self {
        Self { kit, cookies: BTreeMap::new() }
    }

    /// Its cookies.
    #[must_use]
    pub const fn cookies(&self) -> &BTreeMap<String, String> {
        &self.cookies
    }

    /// Its cookies, to be changed.
    pub const fn cookies_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.cookies
    }

    /// Fetches a page.
    pub async fn get(&mut self, target: &str) -> Answer {
        self.send(Method::GET, target, &[], Body::empty()).await
    }

    /// Posts a form.
    pub async fn submit(&mut self, form: &Form) -> Answer {
        let fields: Vec<(&str, &str)> =
            form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.post(&form.action, &fields).await
    }

    /// Posts fields.
    pub async fn post(&mut self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_with(target, fields, &[]).await
    }

    /// Posts fields, with more headers.
    pub async fn post_with(
        &mut self,
        target: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let form = [(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")];
        self.send(Method::POST, target, &[&form, headers].concat(), Body::from(body)).await
    }

    /// Sends a request with the browser's cookies, and keeps those that the answer sets.
    pub async fn send(
        &mut self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Answer {
        let answer = self.kit.send(self.prepare(method, target, headers, body)).await;
        for cookie in answer.headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().expect("a cookie in ASCII");
            let (name, value) =
                cookie.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// The request that would post a form, for tests that send it themselves.
    #[must_use]
    pub fn request(&self, form: &Form) -> Request<Body> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&form.fields).finish();
        let kind = [(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")];
        self.prepare(Method::POST, &form.action, &kind, Body::from(body))
    }

    fn prepare(&self, method: Method, target: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = Request::builder().method(method).uri(target).header("accept", "text/html");
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body).expect("a request of a test")
    }

    /// The sign-in form, on its way to `next`.
    pub async fn sign_in_form(&mut self, next: &str) -> Form {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        let page = self.get(&format!("/sign-in?{query}")).await.ok();
        Form::find(page.text(), "/sign-in").expect("a sign-in form")
    }

    /// Tries to sign in with a password.
    pub async fn try_sign_in(&mut self, person: &str, password: &str) -> Answer {
        let form = self.sign_in_form("/start").await;
        self.submit(&form.with("user_name", person).with("password", password)).await
    }

    /// Signs a seeded person in.
    #[must_use]
    pub async fn signed_in(mut self, person: &str) -> Self {
        let passwords = seed::passwords();
        let (_, password) = passwords.iter().find(|(name, _)| name == person).expect("a seeded person");
        let answer = self.try_sign_in(person, password).await;
        assert_eq!((answer.status.as_u16(), answer.location()), (303, "/start"), "{}", answer.text());
        self
    }

    /// Signs in where the server sent it to do so, and answers what follows.
    pub async fn sign_in_at(&mut self, away: &Answer, person: &str) -> Answer {
        assert!(away.location().starts_with("/sign-in?next="), "{} {}", away.status, away.location());
        let page = self.get(away.location()).await.ok();
        let form = Form::find(page.text(), "/sign-in").expect("a sign-in form");
        let passwords = seed::passwords();
        let (_, password) = passwords.iter().find(|(name, _)| name == person).expect("a seeded person");
        let back = self.submit(&form.with("user_name", person).with("password", password)).await;
        assert_eq!(back.status, 303, "{}", back.text());
        self.get(back.location()).await
    }

    /// Answers the question that a page of `/authorize` asks.
    pub async fn decide(&mut self, page: &Answer, choice: Choice) -> Answer {
        let form = Form::find(page.text(), "/authorize/decision").expect("a question");
        self.submit(&form.with("decision", choice.as_str())).await
    }

    /// Types a user code, as a person would.
    pub async fn type_code(&mut self, typed: &str) -> Answer {
        let page = self.get("/device").await.ok();
        let form = Form::find(page.text(), "/device").expect("a form for the code");
        self.submit(&form.with("user_code", typed)).await
    }

    /// Types a user code that a tool waits with, and answers the question that follows.
    pub async fn decide_device(&mut self, user_code: &str, choice: Choice) -> Answer {
        let page = self.type_code(user_code).await.ok();
        let form = Form::find(page.text(), "/device/decision").expect("a question");
        self.submit(&form.with("decision", choice.as_str())).await
    }

    /// Opens an address of `/authorize`, and answers the question that follows.
    pub async fn decide_authorize(&mut self, target: &str, choice: Choice) -> Answer {
        let page = self.get(target).await.ok();
        let form = Form::find(page.text(), "/authorize/decision").expect("a question");
        self.submit(&form.with("decision", choice.as_str())).await
    }
}
