// Loads a FHIR package with npm's fhir-package-loader, as SUSHI does:
//
//     node load.mjs FILE.tgz NAME VERSION
//
// and prints what it found: {"status", "stats", "manifest", "resources": {key: {type, id, url, elements}}}, the keys
// being what is read from stdin, one a line.

import { createReadStream, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fpl from 'fhir-package-loader';

const [file, name, version] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'coprod-packages-'));
const quiet = { log: (level, message) => (level === 'error' ? console.error(message) : undefined) };
// Nothing is to be fetched: whoever asks a registry has not found the package that it was given.
const nobody = new Proxy(
  { resolveVersion: (_, wanted) => Promise.resolve(wanted) },
  { get: (own, key) => own[key] ?? (() => Promise.reject(new Error('a registry was asked'))) }
);

try {
  const cache = new fpl.DiskBasedPackageCache(folder, quiet);
  await cache.cachePackageTarball(name, version, createReadStream(file));
  const database = await fpl.createSQLJSPackageDB();
  const loader = new fpl.BasePackageLoader(database, cache, nobody, nobody, quiet);
  const status = await loader.loadPackage(name, version);
  const keys = readFileSync(0, 'utf8').split('\n').filter(Boolean);
  const resources = Object.fromEntries(
    keys.map(key => {
      const found = loader.findResourceJSON(key);
      const told = found && {
        type: found.resourceType,
        id: found.id,
        url: found.url,
        elements: found.snapshot?.element.length ?? 0
      };
      return [key, told ?? null];
    })
  );
  const manifest = loader.findPackageJSON(name, version);
  console.log(JSON.stringify({ status, stats: database.getPackageStats(name, version), manifest, resources }));
} finally {
  rmSync(folder, { recursive: true });
}
