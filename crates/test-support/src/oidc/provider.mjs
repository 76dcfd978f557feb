// An issuer for one test, configured by environment variables.

import { generateKeyPairSync } from 'node:crypto';
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import Provider from 'oidc-provider';

const { OIDC_AUDIENCE: audience, OIDC_PORT: port, OIDC_SECRET: secret } = process.env;
const HOUR = 3600;

// The keys persist across restarts. The provider signs with the first suitable key, so the keys
// from before a rotation come last.
function keys() {
  if (!existsSync('keys.json')) {
    const jwk = (type, options, more) => ({
      ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
      ...more,
    });
    writeFileSync('keys.json', JSON.stringify([
      // A key without `alg` can sign both RS256 and PS256.
      jwk('rsa', { modulusLength: 2048 }, { use: 'sig' }),
      jwk('ec', { namedCurve: 'P-256' }, { use: 'sig', alg: 'ES256' }),
      jwk('ed25519', {}, { use: 'sig', alg: 'EdDSA' }),
    ]));
  }
  const files = ['keys.json', 'old-keys.json'].filter((file) => existsSync(file));
  return files.flatMap((file) => JSON.parse(readFileSync(file)));
}

const provider = new Provider(`https://localhost:${port}`, {
  jwks: { keys: keys() },
  cookies: { keys: [secret] },
  clients: [
    {
      client_id: 'webmail',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['https://webmail.example/callback'],
    },
    {
      client_id: 'robot',
      client_secret: secret,
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
    },
  ],
  claims: { openid: ['sub', 'preferred_username', 'email'] },
  conformIdTokenClaims: false,
  // Every user exists.
  findAccount: (_, user) => ({ accountId: user, claims: () => ({ sub: user, ...about(user) }) }),
  extraTokenClaims: (_, token) => (token.accountId ? about(token.accountId) : undefined),
  pkce: { required: () => true },
  ttl: { AccessToken: HOUR, ClientCredentials: HOUR, IdToken: HOUR, Grant: HOUR, Session: HOUR },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // All resources have the same audience; the path of the resource selects the algorithm.
      getResourceServerInfo: (_, resource) => ({
        audience,
        scope: 'imap smtp',
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: new URL(resource).pathname.slice(1) } },
      }),
    },
  },
});

function about(user) {
  return { preferred_username: user, email: `${user}@example.org` };
}

// Logged before the response is sent, so that a client that has the response finds the line.
provider.use(async (ctx, next) => {
  await next();
  appendFileSync('access.log', `${ctx.method} ${ctx.url} ${ctx.status}\n`);
});

const tls = { cert: readFileSync('server.pem'), key: readFileSync('server.key') };
createServer(tls, provider.callback()).listen(Number(port), '127.0.0.1');
