// Verifies tokens by a library that is nobody's here: in goes a list of [token, algorithm, key],
// a key being a JWK or PEM, out come the claims, a line each.

import { readFileSync } from 'node:fs';
import { importJWK, importSPKI, jwtVerify } from 'jose';

for (const [token, alg, key] of JSON.parse(readFileSync(0))) {
  const known = await (typeof key === 'string' ? importSPKI : importJWK)(key, alg);
  const { payload } = await jwtVerify(token, known, { algorithms: [alg] });
  console.log(JSON.stringify(payload));
}
