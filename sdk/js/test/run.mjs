// Runs the tests as a plugin runs: `async` made generators over the SDK's promises, which nothing else can show.
// Give it the folder of the toolchain, where `npm ci` was run on `toolchain/package-lock.json`.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const toolchain = resolve(process.argv[2] ?? join(import.meta.dirname, '../toolchain'));
const { buildSync } = createRequire(join(toolchain, 'package.json'))('esbuild');
const out = mkdtempSync(join(tmpdir(), 'opsiq-sdk-'));
const tests = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.test.js'));
buildSync({
  entryPoints: tests.map((name) => join(import.meta.dirname, name)),
  outdir: out,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  format: 'esm',
  platform: 'node',
  supported: { 'async-await': false, 'async-generator': false, 'for-await': false },
});
const { status } = spawnSync(process.execPath, ['--test', ...readdirSync(out).map((name) => join(out, name))], { stdio: 'inherit' });
rmSync(out, { recursive: true });
process.exit(status ?? 1);
