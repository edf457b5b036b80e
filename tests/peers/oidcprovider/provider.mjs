// oidc-provider as an OpenID provider and authorization server for tests: node provider.mjs, with the settings as one
// line of JSON on stdin:
//   {"port": 4000, "clients": [metadata of OpenID…], "accounts": {"eva": {claims…}},
//    "resources": {"https://coprod.example/fhir": {"scope": "system/*.rs …", "audience": "…", "claims": {…}}}}
// It prints a line when it listens. People sign in with oidc-provider's own development pages, where any password is
// right. A client that asks for a `resource` gets an access token that is a JWT (RFC 9068) with the claims given.

import { createInterface } from 'node:readline';
import { Provider } from 'oidc-provider';

const settings = JSON.parse((await createInterface({ input: process.stdin })[Symbol.asyncIterator]().next()).value);
const { port, clients = [], accounts = {}, resources = {} } = settings;
const issuer = `http://127.0.0.1:${port}`;
const claims = [...new Set(Object.values(accounts).flatMap((account) => Object.keys(account)))];

const provider = new Provider(issuer, {
  clients,
  claims: { openid: ['sub', 'auth_time', 'acr'], profile: claims },
  conformIdTokenClaims: false,
  scopes: ['openid', 'profile', ...new Set(Object.values(resources).flatMap((one) => one.scope.split(' ')))],
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...(accounts[id] ?? {}) }) }),
  extraTokenClaims: (_, token) => {
    const found = Object.entries(resources).find(([, one]) => [token.aud].flat().includes(one.audience));
    return found?.[1].claims;
  },
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx) => ctx.oidc.params?.resource ?? [],
      useGrantedResource: () => true,
      getResourceServerInfo: (_, indicator) => {
        const { scope, audience, algorithm = 'RS256' } = resources[indicator];
        return { scope, audience, accessTokenTTL: 300, accessTokenFormat: 'jwt', jwt: { sign: { alg: algorithm } } };
      },
    },
  },
  cookies: { keys: ['tests'] },
  pkce: { required: () => false },
});

provider.listen(port, '127.0.0.1', () => console.log(`listening on ${issuer}`));
