// A public client whose tokens are bound to a key, and whoever got hold of them without it.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { facts, module, payload, person, play, refused } from './party.mjs';
import { Shop } from './shop.mjs';

const oauth = await module('oauth4webapi');
const scope = 'openid profile orders:read';

const shop = async () => {
  const shop = new Shop(oauth, facts.issuer, 'spa', facts.callback);
  await shop.start();
  return shop;
};
const signIn = async (shop) => shop.redeem(await person('authorize', await shop.authorizationUrl(scope)));

// An API of somebody else's, which knows of the server what its metadata says. It answers with whose token it got.
async function api(server, audience) {
  const listening = createServer(async (incoming, outgoing) => {
    const url = `http://${incoming.headers.host}${incoming.url}`;
    const request = new Request(url, { method: incoming.method, headers: incoming.headers });
    try {
      const claims = await oauth.validateJwtAccessToken(server, request, audience, { [oauth.allowInsecureRequests]: true });
      outgoing.end(claims.sub);
    } catch (error) {
      outgoing.writeHead(401).end(error.message);
    }
  });
  await new Promise((done) => listening.listen(0, '127.0.0.1', done));
  return new URL(`http://127.0.0.1:${listening.address().port}/orders`);
}

await play({
  async bound() {
    const shopping = await shop();
    const tokens = await signIn(shopping);
    assert.equal(shopping.retries, 1, 'no nonce was asked for');
    assert.equal(tokens.token_type, 'dpop');
    assert.equal(oauth.getValidatedIdTokenClaims(tokens).sub, 'ada');
    assert.equal(payload(tokens.access_token).cnf.jkt, await shopping.DPoP.calculateThumbprint());
    const next = await shopping.refresh(tokens.refresh_token);
    assert.equal(next.token_type, 'dpop');
    const info = await shopping.userInfo(next.access_token, 'ada');
    assert.deepEqual([info.sub, info.name], ['ada', 'Ada L.']);

    const url = await api(shopping.server, facts.api);
    const call = (options, where = url) =>
      oauth.protectedResourceRequest(next.access_token, 'GET', where, undefined, undefined, options);
    assert.equal(await (await call(shopping.options)).text(), 'ada');
    // As a bearer, with another's proof, and at an API that it is not for.
    const thief = await shop();
    for (const options of [shopping.insecure, thief.options]) assert.equal((await call(options)).status, 401);
    const elsewhere = await api(shopping.server, facts.stock);
    assert.equal((await call(shopping.options, elsewhere)).status, 401);
  },

  async stolen() {
    const shopping = await shop();
    const tokens = await signIn(shopping);
    const thief = await shop();
    // With a key of the thief's own, and with none.
    await refused(thief.refresh(tokens.refresh_token), 'invalid_grant');
    await assert.rejects(thief.userInfo(tokens.access_token, 'ada'), { status: 401 });
    const { server, client, insecure } = thief;
    const bare = await oauth.refreshTokenGrantRequest(server, client, oauth.None(), tokens.refresh_token, insecure);
    await refused(oauth.processRefreshTokenResponse(server, client, bare), 'invalid_dpop_proof');
    const bearer = await oauth.userInfoRequest(server, client, tokens.access_token, insecure);
    await assert.rejects(oauth.processUserInfoResponse(server, client, 'ada', bearer), { status: 401 });
    // It is still the shop's.
    const next = await shopping.refresh(tokens.refresh_token);
    assert.equal((await shopping.userInfo(next.access_token, 'ada')).sub, 'ada');

    // A code that was pinned to a key when it was asked for is redeemed with no other (RFC 9449 section 10).
    const url = await shopping.authorizationUrl(scope);
    url.searchParams.set('dpop_jkt', await shopping.DPoP.calculateThumbprint());
    const callback = await person('authorize', url);
    Object.assign(thief, { verifier: shopping.verifier, state: shopping.state, nonce: shopping.nonce });
    await refused(thief.redeem(callback), 'invalid_grant');
    assert.ok((await shopping.redeem(callback)).access_token);
  },
});
