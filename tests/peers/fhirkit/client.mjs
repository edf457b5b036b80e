// fhir-kit-client against a server: node client.mjs BASE MARK. What happened goes to stdout as one JSON object,
// in the words of tests/api/test_foreign_clients.py.

import { Client } from 'fhir-kit-client';

const [base, mark] = process.argv.slice(2);
const client = new Client({ baseUrl: base });
const patient = (name) => ({
  resourceType: 'Patient',
  identifier: [{ system: 'urn:client', value: `${mark}-${name}` }],
  name: [{ family: mark, given: [name] }],
});
const refusal = async (attempt) => {
  try {
    await attempt();
    return { status: 0, text: '' };
  } catch (error) {
    const { status, data } = error.response;
    return { status, text: data.issue[0].diagnostics };
  }
};

const software = (await client.capabilityStatement()).software.name;

const created = [];
for (const name of ['a', 'b', 'c', 'd', 'e']) {
  created.push((await client.create({ resourceType: 'Patient', body: patient(name) })).id);
}

let pages = 0;
const found = [];
let bundle = await client.resourceSearch({
  resourceType: 'Patient',
  searchParams: { family: mark, _count: 2, _sort: 'given' },
});
while (bundle) {
  pages += 1;
  found.push(...bundle.entry.map((entry) => entry.resource.id));
  bundle = await client.nextPage({ bundle });
}

const conditional = [];
for (let turn = 0; turn < 2; turn += 1) {
  const answer = await client.create({
    resourceType: 'Patient',
    body: patient('once'),
    options: { headers: { 'If-None-Exist': `identifier=urn:client|${mark}-once` } },
  });
  conditional.push({ id: answer.id, status: Client.httpFor(answer).response.status });
}

const urn = 'urn:uuid:5b3ba4d6-6a0e-4a26-8d8d-9c4f6e5e0b1a';
const transaction = await client.transaction({
  body: {
    resourceType: 'Bundle',
    type: 'transaction',
    entry: [
      { fullUrl: urn, resource: patient('sent-along'), request: { method: 'POST', url: 'Patient' } },
      {
        resource: {
          resourceType: 'Observation',
          status: 'final',
          code: { text: mark },
          subject: { reference: urn },
        },
        request: { method: 'POST', url: 'Observation' },
      },
    ],
  },
});
const [newPatient, newObservation] = transaction.entry.map((entry) => entry.response.location.split('/')[1]);
const observation = await client.read({ resourceType: 'Observation', id: newObservation });

const [id] = created;
const first = await client.read({ resourceType: 'Patient', id });
await client.update({
  resourceType: 'Patient',
  id,
  body: { ...first, gender: 'female' },
  options: { headers: { 'If-Match': `W/"${first.meta.versionId}"` } },
});
const history = await client.history({ resourceType: 'Patient', id });
const conflict = await refusal(() =>
  client.update({
    resourceType: 'Patient',
    id,
    body: { ...first, gender: 'male' },
    options: { headers: { 'If-Match': `W/"${first.meta.versionId}"` } },
  }),
);

const last = created.at(-1);
await client.delete({ resourceType: 'Patient', id: last });
const gone = await refusal(() => client.read({ resourceType: 'Patient', id: last }));

console.log(
  JSON.stringify({
    software,
    created,
    pages,
    found,
    conditional,
    transaction: {
      statuses: transaction.entry.map((entry) => entry.response.status),
      patient: newPatient,
      subject: observation.subject.reference,
    },
    history: history.entry.map((entry) => entry.resource.meta.versionId),
    conflict,
    gone,
  }),
);
