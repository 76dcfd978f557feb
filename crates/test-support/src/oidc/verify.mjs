// Verifies tokens with an independent library. The input is a JSON list of [token, algorithm, key],
// where key is a JWK or PEM; the output is one line of claims per token.

import { readFileSync } from 'node:fs';
import { importJWK, importSPKI, jwtVerify } from 'jose';

for (const [token, alg, key] of JSON.parse(readFileSync(0))) {
  const known = await (typeof key === 'string' ? importSPKI : importJWK)(key, alg);
  const { payload } = await jwtVerify(token, known, { algorithms: [alg] });
  console.log(JSON.stringify(payload));
}
