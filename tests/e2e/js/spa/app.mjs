// A single-page application: what outlives the way to the server and back is in the browser, its key where no script can
// read it.

import * as oauth from '/oauth4webapi.mjs';
import { Shop } from '/shop.mjs';

const { issuer } = await (await fetch('/settings.json')).json();
const shop = new Shop(oauth, issuer, 'spa', `${location.origin}/`);

const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});
const opening = indexedDB.open('shop');
opening.onupgradeneeded = () => opening.result.createObjectStore('keys');
const database = await done(opening);
const keys = (mode) => database.transaction('keys', mode).objectStore('keys');

async function leave() {
  await shop.start();
  await done(keys('readwrite').put(shop.keys, 'dpop'));
  const url = await shop.authorizationUrl('openid profile orders:read');
  const { verifier, state, nonce } = shop;
  sessionStorage.setItem('underWay', JSON.stringify({ verifier, state, nonce }));
  location.assign(url);
}

async function comeBack() {
  Object.assign(shop, JSON.parse(sessionStorage.getItem('underWay')), { keys: await done(keys('readonly').get('dpop')) });
  await shop.start();
  const tokens = await shop.redeem(location.href);
  history.replaceState(null, '', '/');
  const subject = oauth.getValidatedIdTokenClaims(tokens).sub;
  const next = await shop.refresh(tokens.refresh_token);
  const info = await shop.userInfo(next.access_token, subject);
  const bare = await fetch(shop.server.userinfo_endpoint, { headers: { authorization: `Bearer ${next.access_token}` } });
  await shop.revoke(next.refresh_token);
  const after = await shop.refresh(next.refresh_token).catch((error) => error.error);
  return {
    info,
    type: next.token_type,
    retries: shop.retries,
    extractable: shop.keys.privateKey.extractable,
    bare: [bare.status, bare.headers.get('www-authenticate')],
    after,
  };
}

const button = document.querySelector('button');
const show = (what) => { document.querySelector('pre').textContent = JSON.stringify(what); };
if (new URLSearchParams(location.search).has('code')) {
  comeBack().then(show, (error) => show({ error: String(error), cause: String(error.cause), stack: error.stack }));
} else {
  button.hidden = false;
  button.onclick = leave;
}
