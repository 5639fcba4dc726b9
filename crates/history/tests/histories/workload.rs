//! What a client does with its life: it signs in, refreshes, asks for accounts, makes every mistake that clients make, and
//! a few that only thieves make.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::chance::Chance;
use crate::client::{Browser, Came, Client, Device, Registration, Secret, Tokens};

/// How many sessions of each client are in use at a time.
const SESSIONS: usize = 3;
/// How often a browser types a user code: ten times, says the limit.
const MOST_CODES: usize = 8;
/// How often something without an answer is tried again before it is left for the end.
const PATIENCE: usize = 400;
const PAUSE: Duration = Duration::from_millis(40);

/// A session as its client knows it.
struct Held {
    registration: Registration,
    /// All refresh tokens, the newest last.
    chain: Vec<Secret>,
    access: Secret,
    rotated: Instant,
    /// The client was told that it is over, or caused it.
    is_over: bool,
}

/// What a client is, and what it has.
pub(crate) struct Worker {
    client: Client,
    chance: Chance,
    grace: Duration,
    registration: Option<Registration>,
    browser: Option<(Browser, usize)>,
    /// Browsers of before, and whether they signed out.
    browsers: Vec<Browser>,
    held: Vec<Held>,
    /// Sessions that are only asked about at the end, or once their window is over.
    parked: Vec<Held>,
    /// Device requests, with the tool that waits.
    waiting: Vec<(Registration, Device)>,
    registered: usize,
}

impl Worker {
    pub(crate) const fn new(client: Client, chance: Chance, grace: Duration) -> Self {
        Self {
            client,
            chance,
            grace,
            registration: None,
            browser: None,
            browsers: Vec::new(),
            held: Vec::new(),
            parked: Vec::new(),
            waiting: Vec::new(),
            registered: 0,
        }
    }

    /// Does one thing.
    pub(crate) async fn step(&mut self) {
        if self.held.len() < SESSIONS {
            return self.begin_session().await;
        }
        let which = self.chance.below(self.held.len());
        match self.chance.below(1000) {
            0..420 => self.refresh(which).await,
            420..500 => self.refresh_again(which).await,
            500..600 => self.refresh_twice(which, false).await,
            600..640 => self.refresh_twice(which, true).await,
            640..690 => self.refresh_past_another(which).await,
            690..830 => self.use_access(which).await,
            830..930 => self.refresh_while_used(which).await,
            930..936 => self.replay(which).await,
            936..944 => self.log_out(which).await,
            944..950 => self.log_out_while_refreshed(which).await,
            950..960 => self.late().await,
            960..970 => self.end_on_the_page().await,
            970..995 => self.visit().await,
            995..998 => self.leave_a_device_waiting().await,
            _ => self.sign_out().await,
        }
    }

    /// Only refreshes, as tools do; the sessions are begun beforehand.
    pub(crate) async fn storm(&mut self) {
        let which = self.chance.below(self.held.len());
        match self.chance.below(10) {
            0..7 => self.refresh(which).await,
            7 => self.refresh_again(which).await,
            8 => self.refresh_twice(which, false).await,
            _ => self.use_access(which).await,
        }
    }

    /// Begins all its sessions.
    pub(crate) async fn prepare(&mut self) {
        while self.held.len() < SESSIONS {
            self.begin_session().await;
        }
    }

    /// Asks for everything that it has, until each of it is answered.
    pub(crate) async fn conclude(&mut self) {
        for (registration, device) in std::mem::take(&mut self.waiting) {
            self.poll(&registration, &device).await;
        }
        let held = std::mem::take(&mut self.held);
        for (number, mut session) in held.into_iter().chain(std::mem::take(&mut self.parked)).enumerate() {
            if session.is_over {
                self.assert_over(&session).await;
                continue;
            }
            // A copy of an old token must be refused after all that happened, and each of the others must be good.
            if number % 3 == 2 && session.chain.len() > 2 {
                self.present_old(&mut session).await;
                self.assert_over(&session).await;
            } else {
                self.refreshed(&mut session).await;
                until_answered(&mut self.chance, self.client.nodes(), |node| {
                    self.client.list(node, &session.access)
                })
                .await;
            }
        }
        for browser in std::mem::take(&mut self.browsers) {
            until_answered(&mut self.chance, self.client.nodes(), |node| self.client.visit(node, &browser))
                .await;
        }
    }

    fn node(&mut self) -> usize {
        self.chance.below(self.client.nodes())
    }

    /// Two nodes, different ones if there are any.
    fn two_nodes(&mut self) -> (usize, usize) {
        let one = self.node();
        let other = (one + 1 + self.chance.below(self.client.nodes().max(2) - 1)) % self.client.nodes();
        (one, other)
    }

    // --- Beginning

    async fn registration(&mut self) -> Option<Registration> {
        if self.registration.is_none() {
            self.registration = self.register("tool").await;
        }
        self.registration.clone()
    }

    async fn register(&mut self, name: &str) -> Option<Registration> {
        until_answered(&mut self.chance, self.client.nodes(), |node| self.client.register(node, name))
            .await
            .ok()
    }

    async fn browser(&mut self) -> Option<Browser> {
        if self.browser.is_none() {
            let browser =
                until_answered(&mut self.chance, self.client.nodes(), |node| self.client.sign_in(node))
                    .await
                    .ok()?;
            self.browsers.push(browser.clone());
            self.browser = Some((browser, 0));
        }
        self.browser.as_ref().map(|(browser, _)| browser.clone())
    }

    /// The same, for the page where a code is typed.
    async fn browser_for_a_code(&mut self) -> Option<Browser> {
        self.browser.take_if(|(_, typed)| *typed >= MOST_CODES);
        let browser = self.browser().await?;
        self.browser.as_mut()?.1 += 1;
        Some(browser)
    }

    async fn begin_session(&mut self) {
        let Some(registration) = self.registration().await else { return };
        if self.chance.percent(40) {
            self.begin_by_device(registration).await;
        } else {
            self.begin_by_code(registration).await;
        }
    }

    async fn approved_device(&mut self, registration: &Registration) -> Option<Device> {
        let start = |node| self.client.start_device(node, registration);
        let device = until_answered(&mut self.chance, self.client.nodes(), start).await.ok()?;
        if self.chance.percent(50) {
            let node = self.node();
            self.client.poll(node, registration, &device).await;
        }
        for _ in 0..PATIENCE {
            let browser = self.browser_for_a_code().await?;
            let nodes = [self.node(), self.node(), self.node()];
            match self.client.approve(nodes, &browser, &device).await {
                // Refused after an attempt whose answer was lost, and which had approved.
                Came::Ok(()) | Came::Refused => break,
                Came::Nothing => sleep(PAUSE * 4).await,
            }
        }
        Some(device)
    }

    async fn begin_by_device(&mut self, registration: Registration) {
        let Some(device) = self.approved_device(&registration).await else { return };
        let came = if self.chance.percent(50) {
            let (one, other) = self.two_nodes();
            let (first, second) = tokio::join!(
                self.client.poll(one, &registration, &device),
                self.client.poll(other, &registration, &device),
            );
            first.ok().or(second.ok())
        } else {
            let node = self.node();
            self.client.poll(node, &registration, &device).await.ok()
        };
        match came {
            Some(tokens) => self.hold(registration, tokens),
            // Nobody was given tokens: the first attempt may not have been made.
            None => self.poll(&registration, &device).await,
        }
    }

    async fn poll(&mut self, registration: &Registration, device: &Device) {
        let poll = |node| self.client.poll(node, registration, device);
        if let Came::Ok(tokens) = until_answered(&mut self.chance, self.client.nodes(), poll).await {
            self.hold(registration.clone(), tokens);
        }
    }

    async fn leave_a_device_waiting(&mut self) {
        let Some(registration) = self.registration().await else { return };
        if let Some(device) = self.approved_device(&registration).await {
            self.waiting.push((registration, device));
        }
    }

    async fn code(&mut self, registration: &Registration) -> Option<Secret> {
        for _ in 0..PATIENCE {
            let browser = self.browser().await?;
            let nodes = [self.node(), self.node()];
            match self.client.authorize(nodes, &browser, registration).await {
                Came::Ok(code) => return Some(code),
                Came::Refused => return None,
                Came::Nothing => sleep(PAUSE).await,
            }
        }
        None
    }

    async fn begin_by_code(&mut self, registration: Registration) {
        let Some(code) = self.code(&registration).await else { return };
        if self.chance.percent(25) {
            let (one, other) = self.two_nodes();
            let (first, second) = tokio::join!(
                self.client.redeem(one, &registration, &code),
                self.client.redeem(other, &registration, &code),
            );
            // Whichever it was, the other has ended its session.
            if let Some(tokens) = first.ok().or(second.ok()) {
                self.park_over(registration, tokens).await;
            }
            return;
        }
        let redeem = |node| self.client.redeem(node, &registration, &code);
        let Came::Ok(tokens) = until_answered(&mut self.chance, self.client.nodes(), redeem).await else {
            return;
        };
        if self.chance.percent(4) {
            until_answered(&mut self.chance, self.client.nodes(), redeem).await;
            self.park_over(registration.clone(), tokens).await;
        } else {
            self.hold(registration.clone(), tokens);
        }
    }

    fn held(registration: Registration, tokens: Tokens) -> Held {
        Held {
            registration,
            chain: vec![tokens.refresh],
            access: tokens.access,
            rotated: Instant::now(),
            is_over: false,
        }
    }

    fn hold(&mut self, registration: Registration, tokens: Tokens) {
        self.held.push(Self::held(registration, tokens));
    }

    /// Puts away a session that should be over, and sees whether it is.
    async fn park_over(&mut self, registration: Registration, tokens: Tokens) {
        let session = Held { is_over: true, ..Self::held(registration, tokens) };
        self.assert_over(&session).await;
        self.parked.push(session);
    }

    // --- Refreshing

    async fn refresh(&mut self, which: usize) {
        let mut session = self.held.swap_remove(which);
        self.refreshed(&mut session).await;
        self.put_back(session);
    }

    /// Refreshes with the newest token until there is an answer.
    async fn refreshed(&mut self, session: &mut Held) {
        let token = session.chain.last().unwrap().clone();
        let registration = session.registration.clone();
        let refresh = |node| self.client.refresh(node, &registration, &token);
        let came = until_answered(&mut self.chance, self.client.nodes(), refresh).await;
        Self::learn(session, &token, came);
    }

    fn learn(session: &mut Held, presented: &Secret, came: Came<Tokens>) {
        match came {
            Came::Ok(tokens) => {
                session.access = tokens.access;
                if session.chain.last().is_some_and(|newest| newest.name == presented.name) {
                    session.chain.push(tokens.refresh);
                    session.rotated = Instant::now();
                }
            }
            Came::Refused => session.is_over = true,
            Came::Nothing => {}
        }
    }

    fn put_back(&mut self, session: Held) {
        // Those whose refresh has no answer after all that patience are asked about at the end.
        if session.is_over { self.parked.push(session) } else { self.held.push(session) }
    }

    /// The token before the newest, as a process does that shares a file with another.
    async fn refresh_again(&mut self, which: usize) {
        let mut session = self.held.swap_remove(which);
        if session.chain.len() > 1 && session.rotated.elapsed() < self.grace / 3 {
            let token = session.chain[session.chain.len() - 2].clone();
            let node = self.node();
            let came = self.client.refresh(node, &session.registration, &token).await;
            Self::learn(&mut session, &token, came);
        }
        self.put_back(session);
    }

    /// The newest twice at once; or together with the one before.
    async fn refresh_twice(&mut self, which: usize, with_previous: bool) {
        let mut session = self.held.swap_remove(which);
        let newest = session.chain.len() - 1;
        let is_fresh = session.rotated.elapsed() < self.grace / 3;
        let token = session.chain[newest].clone();
        let beside =
            session.chain[if with_previous && is_fresh { newest.saturating_sub(1) } else { newest }].clone();
        let (one, other) = self.two_nodes();
        let (first, second) = tokio::join!(
            self.client.refresh(one, &session.registration, &token),
            self.client.refresh(other, &session.registration, &beside),
        );
        let is_open = matches!(first, Came::Nothing);
        Self::learn(&mut session, &token, first);
        // Two at once may turn the one before into one too old, and then the session is over.
        Self::learn(&mut session, &beside, second);
        if is_open && !session.is_over {
            self.refreshed(&mut session).await;
        }
        self.put_back(session);
    }

    /// The newest, and those after it on another node as soon as they are known: the first must not undo what the others
    /// did, however late it comes.
    async fn refresh_past_another(&mut self, which: usize) {
        let mut session = self.held.swap_remove(which);
        let token = session.chain.last().unwrap().clone();
        let (one, other) = self.two_nodes();
        let (registration, newest) = (session.registration.clone(), session.chain.len());
        let beside = self.client.refresh(one, &registration, &token);
        let go_on = async {
            let mut token = token.clone();
            for _ in 0..3 {
                let came = self.client.refresh(other, &registration, &token).await;
                Self::learn(&mut session, &token, came);
                token = session.chain.last().unwrap().clone();
            }
        };
        let (came, ()) = tokio::join!(beside, go_on);
        let is_over = matches!(came, Came::Refused);
        if session.chain.len() == newest {
            Self::learn(&mut session, &token, came);
        }
        session.is_over |= is_over;
        if !session.is_over {
            self.refreshed(&mut session).await;
        }
        self.put_back(session);
    }

    async fn refresh_while_used(&mut self, which: usize) {
        let mut session = self.held.swap_remove(which);
        let token = session.chain.last().unwrap().clone();
        let (one, other) = self.two_nodes();
        let (came, _) = tokio::join!(
            self.client.refresh(one, &session.registration, &token),
            self.client.list(other, &session.access),
        );
        let is_open = matches!(came, Came::Nothing);
        Self::learn(&mut session, &token, came);
        if is_open {
            self.refreshed(&mut session).await;
        }
        self.put_back(session);
    }

    async fn use_access(&mut self, which: usize) {
        let node = self.node();
        let access = self.held[which].access.clone();
        if self.chance.percent(50) {
            self.client.list(node, &access).await;
        } else {
            self.client.credentials(node, &access).await;
        }
    }

    // --- Ending

    async fn replay(&mut self, which: usize) {
        if self.held[which].chain.len() < 3 {
            return;
        }
        let mut session = self.held.swap_remove(which);
        if self.chance.percent(50) {
            self.present_old(&mut session).await;
        } else {
            let (old, newest) = (self.old(&session), session.chain.last().unwrap().clone());
            let (one, other) = self.two_nodes();
            tokio::join!(
                self.client.refresh(one, &session.registration, &old),
                self.client.refresh(other, &session.registration, &newest),
            );
            session.is_over = true;
        }
        self.assert_over(&session).await;
        self.parked.push(session);
    }

    fn old(&mut self, session: &Held) -> Secret {
        // The youngest of the old ones tells most: it is accepted when the newest rotation was lost.
        let old = session.chain.len() - 2;
        let which = if self.chance.percent(60) { old - 1 } else { self.chance.below(old) };
        session.chain[which].clone()
    }

    async fn present_old(&mut self, session: &mut Held) {
        let (old, registration) = (self.old(session), session.registration.clone());
        until_answered(&mut self.chance, self.client.nodes(), |node| {
            self.client.refresh(node, &registration, &old)
        })
        .await;
        session.is_over = true;
    }

    async fn log_out(&mut self, which: usize) {
        let mut session = self.held.swap_remove(which);
        let access = session.access.clone();
        until_answered(&mut self.chance, self.client.nodes(), |node| self.client.logout(node, &access)).await;
        session.is_over = true;
        self.assert_over(&session).await;
        self.parked.push(session);
    }

    async fn log_out_while_refreshed(&mut self, which: usize) {
        let mut session = self.held.swap_remove(which);
        let token = session.chain.last().unwrap().clone();
        let (one, other) = self.two_nodes();
        let (came, _) = tokio::join!(
            self.client.refresh(one, &session.registration, &token),
            self.client.logout(other, &session.access),
        );
        Self::learn(&mut session, &token, came);
        session.is_over = true;
        self.assert_over(&session).await;
        self.parked.push(session);
    }

    /// The token before the newest, after its window; and meanwhile another session waits for its own to end.
    async fn late(&mut self) {
        let due = |session: &Held| {
            !session.is_over
                && session.chain.len() > 1
                && session.rotated.elapsed() > self.grace + Duration::from_secs(2)
        };
        let Some(at) = self.parked.iter().position(due) else {
            if self.parked.iter().all(|session| session.is_over) {
                let mut session = self.held.swap_remove(0);
                self.refreshed(&mut session).await;
                self.parked.push(session);
            }
            return;
        };
        let mut session = self.parked.swap_remove(at);
        let (token, registration) =
            (session.chain[session.chain.len() - 2].clone(), session.registration.clone());
        until_answered(&mut self.chance, self.client.nodes(), |node| {
            self.client.refresh(node, &registration, &token)
        })
        .await;
        session.is_over = true;
        self.assert_over(&session).await;
        self.parked.push(session);
    }

    /// Neither of its tokens is worth anything.
    async fn assert_over(&mut self, session: &Held) {
        let (token, registration) = (session.chain.last().unwrap().clone(), session.registration.clone());
        until_answered(&mut self.chance, self.client.nodes(), |node| self.client.list(node, &session.access))
            .await;
        until_answered(&mut self.chance, self.client.nodes(), |node| {
            self.client.refresh(node, &registration, &token)
        })
        .await;
    }

    // --- The browser

    async fn end_on_the_page(&mut self) {
        self.registered += 1;
        let name = format!("tool {}", self.registered);
        let Some(registration) = self.register(&name).await else { return };
        let Some(code) = self.code(&registration).await else { return };
        let redeem = |node| self.client.redeem(node, &registration, &code);
        let Came::Ok(tokens) = until_answered(&mut self.chance, self.client.nodes(), redeem).await else {
            return;
        };
        let Some(browser) = self.browser().await else { return };
        let end = |node| self.client.end(node, &browser, &registration, &code);
        until_answered(&mut self.chance, self.client.nodes(), end).await;
        self.park_over(registration.clone(), tokens).await;
    }

    async fn visit(&mut self) {
        if let Some(browser) = self.browser().await {
            let node = self.node();
            self.client.visit(node, &browser).await;
        }
    }

    async fn sign_out(&mut self) {
        if let Some((browser, _)) = self.browser.take() {
            until_answered(&mut self.chance, self.client.nodes(), |node| {
                self.client.sign_out(node, &browser)
            })
            .await;
            until_answered(&mut self.chance, self.client.nodes(), |node| self.client.visit(node, &browser))
                .await;
        }
    }
}

/// Asks one node after another until there is an answer; none when it takes too long.
async fn until_answered<T, F>(chance: &mut Chance, nodes: usize, ask: impl Fn(usize) -> F) -> Came<T>
where
    F: Future<Output = Came<T>>,
{
    for _ in 0..PATIENCE {
        match ask(chance.below(nodes)).await {
            Came::Nothing => sleep(PAUSE).await,
            came => return came,
        }
    }
    Came::Nothing
}
