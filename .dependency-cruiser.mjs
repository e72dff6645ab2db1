/**
 * Import rules. `npm run deps` prints the name of a broken rule, its comment and the import that breaks it.
 * docs/architecture.md describes the folders; this file is the authority on who imports whom.
 *
 * Paths are resolved: a relative import keeps its folder, a package lies under `node_modules/`, a module of Node
 * has its bare name (`crypto`, `node:sqlite`). `preCompilationOnly: false` is an import that exists at run time;
 * without it a rule covers `import type` as well.
 */

const SOURCE = '^(src|reference-server|reference-client|conformance|test|bench|scripts|docs)/';
const WIRE_TYPES = '^spec-schema/draft/schema\\.ts$';
const MCP_SDK = '^node_modules/@modelcontextprotocol/';
const NETWORK = '^(node:)?(http|https|http2|net|tls|dgram)$';

/** Names of npm packages as a pattern over resolved paths. */
const packages = (...names) => `^node_modules/(${names.join('|')})/`;

/** @type {(name: string, comment: string, from: string | object, to: string | object) => object} */
const rule = (name, comment, from, to) => ({
  name,
  comment,
  severity: 'error',
  from: typeof from === 'string' ? { path: from } : from,
  to: typeof to === 'string' ? { path: to } : to,
});

const circles = [
  rule(
    'no-circles',
    'Two files that import each other, types included, cannot be read or tested apart. Move the shared part to a third file.',
    {},
    { circular: true },
  ),
];

const protocol = [
  rule(
    'schema-imports-nothing',
    'spec-schema/draft/schema.ts is published as it is and is the source of schema.json.',
    WIRE_TYPES,
    {},
  ),
  rule(
    'core-is-pure',
    'protocol/core decides from its arguments alone: no clock, no I/O, no package, no other folder.',
    '^src/protocol/core/',
    { pathNot: '^src/protocol/core/' },
  ),
  rule(
    'protocol-imports-no-side',
    'Server, client and receiver share protocol/, so it knows none of them.',
    '^src/protocol/',
    { path: SOURCE, pathNot: '^src/protocol/' },
  ),
  rule(
    'lib-imports-no-neighbor',
    'protocol/lib holds helpers that know nothing of the protocol.',
    '^src/protocol/lib/',
    { path: '^(src|spec-schema)/', pathNot: ['^src/protocol/lib/', '^spec-schema/draft/'] },
  ),
  rule(
    'wire-knows-types-of-core-only',
    'protocol/wire turns bytes into values; what the values lead to is decided elsewhere.',
    '^src/protocol/wire/',
    { path: '^src/protocol/(core|events|ledger)/', preCompilationOnly: false },
  ),
  rule(
    'wire-imports-no-neighbor',
    'protocol/events and protocol/ledger are built on protocol/wire, not the other way round.',
    '^src/protocol/wire/',
    '^src/protocol/(events|ledger)/',
  ),
  rule(
    'events-and-ledger-are-apart',
    'The names of SEP-3415 and the record of what a client applied have nothing in common.',
    '^src/protocol/(events|ledger)/',
    { path: '^src/protocol/(events|ledger)/', pathNot: '^src/protocol/$1/' },
  ),
];

const sides = [
  rule(
    'server-imports-no-other-side',
    'An application that only serves must not load the client. Shared code belongs in protocol/.',
    '^src/server/',
    { path: SOURCE, pathNot: '^src/(server|protocol)/' },
  ),
  rule(
    'client-imports-no-other-side',
    'An application that only subscribes must not load the server. Shared code belongs in protocol/.',
    '^src/client/',
    { path: SOURCE, pathNot: '^src/(client|protocol)/' },
  ),
  rule(
    'receiver-imports-no-other-side',
    'A callback endpoint runs without a client or a server. Shared code belongs in protocol/.',
    '^src/receiver/',
    { path: SOURCE, pathNot: '^src/(receiver|protocol)/' },
  ),
  rule(
    'schema-entry-imports-protocol-only',
    'The ./schema entry point is for tools that validate messages and need nothing else.',
    '^src/schema\\.ts$',
    { path: SOURCE, pathNot: '^src/protocol/' },
  ),
];

const server = [
  rule(
    'engine-knows-no-adapter',
    'The engine and its drains work with any store and any protocol binding: they see ports only.',
    '^src/server/(engine|callback|stream|pull)/',
    '^src/server/(mcp/|store/sqlite/|index\\.ts$)',
  ),
  rule(
    'store-port-imports-protocol-only',
    'Everything a store must implement is in store/port.ts, in terms of the protocol.',
    '^src/server/store/port\\.ts$',
    { path: '^src/', pathNot: '^src/protocol/' },
  ),
  rule(
    'store-knows-its-port-only',
    'A store of another author has store/port.ts and protocol/ to work with; the one here has no more.',
    '^src/server/store/sqlite/',
    { path: '^src/', pathNot: '^src/(protocol/|server/store/(sqlite/|port\\.ts$))' },
  ),
  rule(
    'store-is-chosen-by-the-application',
    'An application passes its store in. Only the entry point ./stores/sqlite loads node:sqlite.',
    { path: '^src/', pathNot: '^src/server/store/sqlite/' },
    '^src/server/store/sqlite/|^node:sqlite$',
  ),
  rule(
    'bindings-are-apart',
    'Each MCP binding is installed by itself. Code that two of them need lies in src/server/mcp/.',
    '^src/server/mcp/(triggers|events|resources|tools)/',
    {
      path: '^src/server/mcp/(triggers|events|resources|tools)/',
      pathNot: '^src/server/mcp/$1/',
    },
  ),
  rule(
    'egress-is-the-only-http-client',
    'Every outbound request passes the address check of callback/egress (SEP: Callback, destinations).',
    { path: '^src/', pathNot: '^src/server/callback/egress/egress\\.ts$' },
    packages('undici'),
  ),
  rule(
    'egress-is-the-only-network-user',
    'No other file opens a socket or parses an address. Types of node:http are free.',
    { path: '^src/', pathNot: '^src/server/callback/egress/' },
    { path: [NETWORK, packages('ipaddr\\.js')], preCompilationOnly: false },
  ),
  rule(
    'server-sdk-in-install-files',
    'A new version of the MCP SDK changes sdk.ts, and install.ts and listen.ts of a binding, and nothing else.',
    { path: '^src/server/', pathNot: '^src/server/mcp/.*(?<=/)(install|listen|sdk)\\.ts$' },
    MCP_SDK,
  ),
];

const client = [
  rule(
    'client-sdk-in-sdk-folder',
    'A new version of the MCP SDK changes client/sdk and nothing else.',
    { path: '^src/client/', pathNot: '^src/client/sdk/' },
    MCP_SDK,
  ),
  rule(
    'client-sdk-is-lowest',
    'client/sdk connects; subscriptions and following are built on it.',
    '^src/client/sdk/',
    '^src/client/(subscription|follow)/|^src/client/(index|client)\\.ts$',
  ),
  rule(
    'subscription-knows-no-following',
    'client/follow chooses among ways to follow a resource; a subscription is one of them.',
    '^src/client/subscription/',
    '^src/client/follow/|^src/client/(index|client)\\.ts$',
  ),
];

const library = [
  rule(
    'sdk-in-server-and-client-only',
    'protocol/, receiver/ and testing/ run without the MCP SDK.',
    { path: '^src/', pathNot: '^src/(server|client)/' },
    MCP_SDK,
  ),
  rule(
    'dependencies-by-folder',
    'The packages an installation needs, and where. docs/dependencies.md says why each one is here.',
    '^src/',
    {
      path: '^node_modules/',
      pathNot: [
        packages('ajv', 'ajv-formats', 'canonicalize', 'jose', 'undici', 'ipaddr\\.js'),
        packages('@modelcontextprotocol/client', '@modelcontextprotocol/server'),
        '^node_modules/@types/node/',
      ],
    },
  ),
  rule(
    'validation-packages-in-wire',
    'Messages are validated, canonicalized and verified in one folder.',
    { path: '^src/', pathNot: '^src/protocol/wire/' },
    packages('ajv', 'ajv-formats', 'canonicalize', 'jose'),
  ),
  rule('no-development-dependency', 'An installed library has no devDependencies.', '^src/', {
    dependencyTypes: ['npm-dev'],
    dependencyTypesNot: ['npm-peer'],
  }),
  rule(
    'no-undeclared-dependency',
    'A package that package.json does not list is there by accident.',
    '^(src|reference-server|reference-client)/',
    { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
  ),
  rule(
    'library-imports-no-program',
    'Tests, the kit, the reference programs and scripts are not part of the library.',
    '^src/',
    { path: SOURCE, pathNot: '^src/' },
  ),
];

const programs = [
  rule(
    'reference-programs-are-users',
    'The reference programs import the package by its public name, as any application does.',
    '^(reference-server|reference-client)/',
    { path: '^(src|spec-schema)/', dependencyTypes: ['local'] },
  ),
  rule(
    'reference-programs-are-apart',
    'A reference program shows one side and can be read by itself.',
    '^(reference-server|reference-client)/',
    { path: SOURCE, pathNot: ['^$1/', '^src/'] },
  ),
  rule(
    'examples-are-users',
    'An example imports the package by its public name.',
    '^docs/examples/',
    { path: `${SOURCE}|^spec-schema/`, dependencyTypes: ['local'] },
  ),
  rule(
    'kit-is-a-stranger',
    'The conformance kit knows the wire and the published data, and nothing of this implementation. Its own name for the package counts as well.',
    '^conformance/(main\\.ts$|runner/|suites/)',
    {
      path: `${SOURCE}|^spec-schema/`,
      pathNot: '^conformance/(main\\.ts$|runner/|suites/)',
    },
  ),
  rule(
    'kit-dependencies',
    'An installation of the kit has these packages and no others.',
    '^conformance/(main\\.ts$|runner/|suites/)',
    {
      path: '^node_modules/',
      pathNot: packages('ajv', 'ajv-formats', 'eventsource-parser', 'jose', 'yaml', '@types/node'),
    },
  ),
  rule(
    'minimal-peers-have-no-dependency',
    'The minimal peers and the strangers show what the protocol asks of a program that has only a standard library.',
    '^(conformance/peers/minimal|test/interop/independent/).*\\.mjs$',
    { dependencyTypes: ['npm', 'npm-dev', 'npm-peer', 'undetermined'] },
  ),
  rule(
    'tests-are-not-imported',
    'A helper that two tests share lies in a file of its own.',
    {},
    '\\.test\\.ts$',
  ),
  rule(
    'everything-resolves',
    'The import names a file or package that does not exist.',
    { pathNot: '\\.d\\.mts$' },
    { couldNotResolve: true, pathNot: '\\.mjs$' },
  ),
];

export default {
  forbidden: [...circles, ...protocol, ...sides, ...server, ...client, ...library, ...programs],
  options: {
    doNotFollow: { path: '^node_modules/' },
    exclude: { path: '^(conformance/)?(dist|coverage)/' },
    tsPreCompilationDeps: 'specify',
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['mcp-triggers-source', 'import', 'node', 'types', 'default'],
      extensions: ['.ts', '.mts', '.mjs', '.js', '.json'],
    },
  },
};
