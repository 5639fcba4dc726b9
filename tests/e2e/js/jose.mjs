// An API that checks access tokens by itself, with jose (RFC 9068 section 4).

import assert from 'node:assert/strict';
import { facts, module, person, play } from './party.mjs';

const client = await module('openid-client');
const { createRemoteJWKSet, decodeJwt, jwtVerify } = await module('jose');
const insecure = { execute: [client.allowInsecureRequests] };

await play({
  async api() {
    const config = await client.discovery(
      new URL(facts.issuer), 'web', undefined, client.ClientSecretBasic(facts.secrets.web), insecure);
    const verifier = client.randomPKCECodeVerifier();
    const callback = await person('authorize', client.buildAuthorizationUrl(config, {
      redirect_uri: facts.callback, scope: 'openid orders:read',
      code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
    }));
    const tokens = await client.authorizationCodeGrant(config, callback, { pkceCodeVerifier: verifier });

    const keys = createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri));
    const verify = (token, more = {}) =>
      jwtVerify(token, keys, { issuer: facts.issuer, audience: facts.api, typ: 'at+jwt', requiredClaims: ['jti', 'client_id'], ...more });
    const { payload } = await verify(tokens.access_token);
    assert.deepEqual([payload.sub, payload.client_id, payload.scope], ['ada', 'web', 'openid orders:read']);
    assert.ok(payload.exp - payload.iat <= 3600);
    await assert.rejects(verify(tokens.access_token, { audience: facts.stock }), { claim: 'aud' });
    await assert.rejects(verify(tokens.access_token, { issuer: 'https://elsewhere.example' }), { claim: 'iss' });
    // An ID token is no access token, for whomever it is.
    await assert.rejects(verify(tokens.id_token, { audience: 'web' }), { claim: 'typ' });
    const [head, , signature] = tokens.access_token.split('.');
    const grace = Buffer.from(JSON.stringify({ ...decodeJwt(tokens.access_token), sub: 'grace' })).toString('base64url');
    await assert.rejects(verify(`${head}.${grace}.${signature}`), { code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' });
  },
});
