// A public client that is written with oauth4webapi: its tokens are bound to a key that it made (RFC 9449). It runs in a
// browser as it does in Node; the library comes from outside.

export class Shop {
  constructor(oauth, issuer, clientId, redirectUri) {
    Object.assign(this, { oauth, issuer: new URL(issuer), client: { client_id: clientId }, redirectUri });
    this.insecure = { [oauth.allowInsecureRequests]: true };
    this.retries = 0;
  }

  async start() {
    const { oauth, issuer, insecure } = this;
    this.server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure));
    this.keys ??= await oauth.generateKeyPair('ES256');
    this.DPoP = oauth.DPoP(this.client, this.keys);
  }

  // A request that is made again when the server wants a nonce in the proof.
  async proven(request, read) {
    try {
      return await read(await request());
    } catch (error) {
      if (!this.oauth.isDPoPNonceError(error)) throw error;
      this.retries += 1;
      return read(await request());
    }
  }

  get options() { return { ...this.insecure, DPoP: this.DPoP }; }

  async authorizationUrl(scope) {
    const { oauth, server, client } = this;
    Object.assign(this, { verifier: oauth.generateRandomCodeVerifier(), state: oauth.generateRandomState(), nonce: oauth.generateRandomNonce() });
    const url = new URL(server.authorization_endpoint);
    const query = {
      client_id: client.client_id, redirect_uri: this.redirectUri, response_type: 'code', scope, state: this.state,
      nonce: this.nonce, code_challenge: await oauth.calculatePKCECodeChallenge(this.verifier), code_challenge_method: 'S256',
    };
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    return url;
  }

  async redeem(callback) {
    const { oauth, server, client } = this;
    const answer = oauth.validateAuthResponse(server, client, new URL(callback), this.state);
    const request = () => oauth.authorizationCodeGrantRequest(
      server, client, oauth.None(), answer, this.redirectUri, this.verifier, this.options);
    return this.proven(request, async (response) => {
      const expected = { expectedNonce: this.nonce, requireIdToken: true };
      const tokens = await oauth.processAuthorizationCodeResponse(server, client, response, expected);
      // Whatever the connection says, the signature must be of a key that the server publishes.
      await oauth.validateApplicationLevelSignature(server, response, this.insecure);
      return tokens;
    });
  }

  async refresh(refreshToken) {
    const { oauth, server, client } = this;
    const request = () => oauth.refreshTokenGrantRequest(server, client, oauth.None(), refreshToken, this.options);
    return this.proven(request, (response) => oauth.processRefreshTokenResponse(server, client, response));
  }

  async userInfo(accessToken, subject) {
    const { oauth, server, client } = this;
    const request = () => oauth.userInfoRequest(server, client, accessToken, this.options);
    return this.proven(request, (response) => oauth.processUserInfoResponse(server, client, subject, response));
  }

  async revoke(token) {
    const { oauth, server, client } = this;
    await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, oauth.None(), token, this.insecure));
  }
}
