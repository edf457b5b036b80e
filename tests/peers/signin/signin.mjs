// fhir-kit-client signs in by SMART Backend Services and searches: node signin.mjs BASE CLIENT KID KEY.pem
// (It has no sign-in of its own for this, so the assertion is signed here, by Node's own cryptography.) What happened
// goes to stdout as one JSON object.

import { randomUUID, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Client } from '../fhirkit/node_modules/fhir-kit-client/dist/index.js';

const [base, name, kid, file] = process.argv.slice(2);
const client = new Client({ baseUrl: base });
const { tokenUrl } = await client.smartAuthMetadata().then((found) => ({ tokenUrl: String(found.tokenUrl) }));
const part = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const claims = { iss: name, sub: name, aud: tokenUrl, jti: randomUUID(), exp: Math.floor(Date.now() / 1000) + 240 };
const text = `${part({ alg: 'ES384', typ: 'JWT', kid })}.${part(claims)}`;
const signature = sign('sha384', Buffer.from(text), { key: readFileSync(file), dsaEncoding: 'ieee-p1363' });
const answer = await fetch(tokenUrl, {
  method: 'POST',
  body: new URLSearchParams({
    grant_type: 'client_credentials',
    scope: 'system/ServiceRequest.rs',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: `${text}.${signature.toString('base64url')}`,
  }),
});
let refused = 0;
try {
  await client.search({ resourceType: 'ServiceRequest' });
} catch (error) {
  refused = error.response.status;
}
client.bearerToken = (await answer.json()).access_token;
const bundle = await client.search({ resourceType: 'ServiceRequest' });
console.log(JSON.stringify({ refused, found: bundle.entry.map((entry) => entry.resource.id) }));
