// From a plugin's JavaScript to a component. Run by `opsiq plugin build` with one argument: a JSON object that says what
// to build. Everything the code imports goes into one module; `async` becomes generators over the SDK's promises,
// because an answer has to be there when the host's call ends.
import { build } from 'esbuild';
import { readFile, writeFile } from 'node:fs/promises';

const wanted = JSON.parse(process.argv[2]);

const bundled = await build({
  entryPoints: [wanted.entry],
  absWorkingDir: wanted.root,
  nodePaths: [wanted.modules],
  alias: wanted.alias,
  external: ['opsiq:*'],
  bundle: true,
  write: false,
  format: 'esm',
  platform: 'neutral',
  mainFields: ['module', 'main'],
  conditions: ['opsiq', 'module', 'import'],
  target: 'es2023',
  supported: { 'async-await': false, 'async-generator': false, 'for-await': false },
  minifySyntax: true,
  minifyWhitespace: !wanted.names,
  keepNames: false,
  legalComments: 'none',
  logLevel: 'silent',
}).catch((failed) => {
  for (const { text, location } of failed.errors ?? [{ text: failed.message }]) {
    const place = location ? `${location.file}:${location.line}:${location.column}: ` : '';
    console.error(`${place}${text}`);
  }
  process.exit(1);
});
for (const { text, location } of bundled.warnings) {
  console.error(`warning: ${location ? `${location.file}:${location.line}: ` : ''}${text}`);
}

const engines = {
  async quickjs(jsSource) {
    const { componentize } = await import('componentize-qjs');
    // The smaller runtime is built with tail calls, which the host does not run.
    const options = { stubWasi: true, sync: true, optSize: false };
    return componentize({ witPath: wanted.wit, world: wanted.world, jsSource, ...options });
  },
  async starlingmonkey(jsSource) {
    const { componentize } = await import('@bytecodealliance/componentize-js');
    // Every feature is a WASI import; the SDK puts the host's in their place.
    const disableFeatures = ['stdio', 'random', 'clocks', 'http', 'fetch-event'];
    const options = { sourceName: 'plugin.js', disableFeatures };
    return componentize(jsSource, { witPath: wanted.wit, worldName: wanted.world, ...options });
  },
};

try {
  const { component } = await engines[wanted.engine](bundled.outputFiles[0].text);
  await writeFile(wanted.out, component);
} catch (failed) {
  console.error(failed.message);
  process.exit(1);
}
