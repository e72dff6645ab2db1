/**
 * Callback URLs that must be refused before a name is resolved or a socket opened, by the trick they try; and names that are
 * well formed and only turn out to point inside when they are resolved. Data only.
 */

/** The usual other spellings of a dotted IPv4 address, as accepted by one resolver or another. */
export function spellings(address: string): string[] {
  const [a, b, c, d] = address.split('.').map(Number) as [number, number, number, number];
  const number = ((a * 256 + b) * 256 + c) * 256 + d;
  const hex = (n: number, width = 0): string => `0x${n.toString(16).padStart(width, '0')}`;
  const octal = (n: number, width = 0): string => `0${n.toString(8).padStart(width, '0')}`;
  const hextets = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  return [
    `${number}`, hex(number), hex(number).toUpperCase().replace('0X', '0X'), octal(number), hex(number, 16), octal(number, 20),
    `${a}.${(b << 16) | (c << 8) | d}`, `${a}.${b}.${(c << 8) | d}`,
    `${hex(a)}.${hex(b)}.${hex(c)}.${hex(d)}`, `${hex(a, 8)}.${hex(b, 8)}.${hex(c, 8)}.${hex(d, 8)}`,
    `${octal(a)}.${octal(b)}.${octal(c)}.${octal(d)}`, `${octal(a, 6)}.${octal(b, 6)}.${octal(c, 6)}.${octal(d, 6)}`,
    `${hex(a)}.${octal(b)}.${c}.${d}`, `${a}.${octal(b, 8)}.${hex(c)}.${d}`, `${octal(a)}.${(b << 16) | (c << 8) | d}`,
    `${address}.`, `%3${String(a)[0]}${address.slice(1)}`, address.replaceAll('.', '%2e'), address.replaceAll('.', '。'),
    `[::ffff:${address}]`, `[::ffff:${hextets}]`, `[0:0:0:0:0:ffff:${address}]`, `[0000:0000:0000:0000:0000:FFFF:${hextets}]`,
    `[::${address}]`, `[::${hextets}]`, `[::ffff:0:${hextets}]`, `[64:ff9b::${hextets}]`, `[64:ff9b:1::${hextets}]`,
    `[2002:${hextets}::1]`, `[2002:${hextets}::]`, `[2001:0:${hextets}::1]`, `[fe80::5efe:${hextets}]`, `[::ffff:${address}%25lo]`,
  ];
}

export const HOSTILE_URLS: Readonly<Record<string, readonly string[]>> = {
  'plain literals inside': [
    'https://0.0.0.0/', 'https://0.1.2.3/', 'https://10.0.0.1/', 'https://10.255.255.255/', 'https://100.64.0.1/', 'https://100.100.100.200/',
    'https://127.0.0.1/', 'https://127.255.255.254/', 'https://168.63.129.16/', 'https://169.254.169.254/latest/meta-data/', 'https://169.254.170.2/v2/credentials/',
    'https://172.16.0.1/', 'https://172.31.255.255/', 'https://192.0.0.192/opc/v2/', 'https://192.0.2.1/', 'https://192.88.99.1/', 'https://192.168.1.1/',
    'https://198.18.0.1/', 'https://198.51.100.7/', 'https://203.0.113.9/', 'https://224.0.0.1/', 'https://239.255.255.250/', 'https://240.0.0.1/', 'https://255.255.255.255/',
    'https://127.0.0.1:8443/', 'https://169.254.169.254:8443/latest/',
  ],
  'IPv6 literals inside': [
    'https://[::]/', 'https://[::1]/', 'https://[::1]:8443/', 'https://[100::1]/', 'https://[2001:db8::1]/', 'https://[2001:10::1]/', 'https://[2001:20::1]/',
    'https://[2620:4f:8000::1]/', 'https://[3ffe::1]/', 'https://[3fff::1]/', 'https://[4000::1]/', 'https://[5f00::1]/', 'https://[fc00::1]/',
    'https://[fd00:ec2::254]/latest/meta-data/', 'https://[fe80::1]/', 'https://[febf::1]/', 'https://[fec0::1]/', 'https://[ff02::1]/', 'https://[ff0e::1]/',
    'https://[0000::1]/', 'https://[0:0:0:0:0:0:0:1]/', 'https://[::0001]/', 'https://[::1%25lo]/', 'https://[fe80::1%25eth0]/', 'https://[::1%lo]/',
    'https://[v1.x]/', 'https://[::1', 'https://::1/', 'https://[::1]x/', 'https://[::ffff:a00:1]/',
  ],
  'loopback in other spellings': spellings('127.0.0.1').map((host) => `https://${host}/`),
  'instance metadata in other spellings': spellings('169.254.169.254').map((host) => `https://${host}/latest/`),
  'private network in other spellings': spellings('10.1.2.3').map((host) => `https://${host}/`),
  'digits and dots that are not ASCII': [
    'https://①②⑦.⓪.⓪.①/', 'https://１２７.０.０.１/', 'https://１６９。２５４｡１６９．２５４/', 'https://127。0。0。1/', 'https://ⓔⓧⓐⓜⓟⓛⓔ.ⓒⓞⓜ/',
    'https://faß.example/', 'https://exam\u00adple.com/', 'https://example\u200b.com/', 'https://example.com\u2028/', 'https://ex\u0430mple.com/', 'https://example.com/\u202e',
  ],
  'single labels and odd names': [
    'https://localhost/', 'https://LOCALHOST/', 'https://localhost:8443/', 'https://metadata/', 'https://kubernetes/', 'https://intranet/', 'https://1/', 'https://0/', 'https://0x/',
    'https://localhost./', 'https://example.com./', 'https://metadata.google.internal./', 'https://./', 'https://../', 'https://.example.com./', 'https://com/',
  ],
  schemes: [
    'http://example.com/', 'http://127.0.0.1/', 'http://localhost/', 'ftp://example.com/', 'file:///etc/passwd', 'gopher://127.0.0.1:6379/_INFO', 'dict://127.0.0.1:11211/stat',
    'ldap://127.0.0.1/', 'tftp://127.0.0.1/x', 'javascript:alert(1)', 'data:text/plain,hi', 'ws://example.com/', 'wss://example.com/', 'blob:https://example.com/1',
    'jar:https://127.0.0.1!/', 'netdoc:///etc/passwd', 'unix:/var/run/docker.sock', 'about:blank', 'mailto:a@example.com', 'HTTPS://example.com/', 'hTTps://example.com/',
    'https:example.com/', 'https:/example.com/', 'https:///example.com/', 'https:\\\\example.com\\', '//example.com/', 'example.com/', '/hook', '?x', '', ' ', 'https://', 'https:', 'https:///', 'view-source:https://example.com/',
  ],
  'user information': [
    'https://user@example.com/', 'https://user:password@example.com/', 'https://:password@example.com/', 'https://@example.com/', 'https://:@example.com/',
    'https://a@b@example.com/', 'https://example.com@127.0.0.1/', 'https://127.0.0.1@example.com/', 'https://example.com%40127.0.0.1/', 'https://example.com:443@127.0.0.1/',
    'https://127.1.1.1:80\\@127.2.2.2:80/', 'https://127.1.1.1:80\\@@127.2.2.2:80/', 'https://127.1.1.1:80:\\@@127.2.2.2:80/', 'https://1.1.1.1 &@2.2.2.2# @3.3.3.3/',
    'https://1.1.1.1#@127.0.0.1/', 'https://example.com\\@127.0.0.1/', 'https://example.com;@127.0.0.1/', 'https://foo@127.0.0.1:8443@example.com/',
  ],
  ports: [
    'https://example.com:0/', 'https://example.com:22/', 'https://example.com:25/', 'https://example.com:80/', 'https://example.com:443/', 'https://example.com:0443/', 'https://example.com:08443/',
    'https://example.com:2375/', 'https://example.com:5432/', 'https://example.com:6379/', 'https://example.com:9200/', 'https://example.com:10250/', 'https://example.com:65535/',
    'https://example.com:65536/', 'https://example.com:-1/', 'https://example.com:443:80/', 'https://example.com:/', 'https://example.com: 443/', 'https://example.com:4４3/', 'https://example.com:+443/', 'https://example.com:0x1bb/',
  ],
  fragments: ['https://example.com/#', 'https://example.com/#x', 'https://example.com#@127.0.0.1/', 'https://127.0.0.1#.example.com/', 'https://example.com/hook?x=1#y'],
  'control characters, blanks and backslashes': [
    'https://exa\tmple.com/', 'https://exa\nmple.com/', 'https://example.com/\r\nHost: 127.0.0.1', 'https://example.com/\0', 'https://example.com/a b', ' https://example.com/', 'https://example.com/ ',
    '\thttps://example.com/', 'https://example.com/\u007f', 'ht\ttps://example.com/', 'https:/\t/example.com/', 'https://example.com\\hook', 'https://example.com/a\\b', '\\\\example.com\\', 'https://example.com /', 'https://example.com%20/', 'https://example.com/\u0085',
  ],
  'escapes and spellings that are not in normal form': [
    'https://EXAMPLE.com/', 'https://ex%41mple.com/', 'https://%65xample.com/', 'https://example.com', 'https://example.com?x', 'https://example.com/a/../b', 'https://example.com/./a', 'https://example.com/%2e%2e/a',
    'https://example.com/.%2e/', 'https://example.com/a/..', 'https://example.com/"', 'https://example.com/<x>', 'https://example.com/`', 'https://example.com/?"', "https://example.com/?'", 'https://example.com/{x}',
    'https://%00/', 'https://exa%00mple.com/', 'https://%31%32%37.0.0.1/', 'https://%5B::1%5D/', 'https://example.com%2f@127.0.0.1/', 'https://example.com%09/', 'https://xn--/', 'https://xn--a/',
  ],
  'hosts that end in a number, or too much': [
    'https://1.2.3.4.5/', 'https://256.1.1.1/', 'https://127.0.0.1.1/', 'https://1.2.3/', 'https://127.1/', 'https://0x7f.1/', 'https://example.1/', 'https://example.0x1/', 'https://4294967296/', 'https://0x100000000/', 'https://00000000000000000177.1/',
    `https://example.com/${'a'.repeat(2048)}`, `https://${'a.'.repeat(1100)}com/`, `https://example.com/?${'%20'.repeat(800)}`,
  ],
};

/** Well-formed names of places inside, and what they are known to resolve to. */
export const HOSTILE_NAMES: readonly (readonly [url: string, ...addresses: string[]])[] = [
  ['https://metadata.google.internal/computeMetadata/v1/', '169.254.169.254'],
  ['https://instance-data.ec2.internal/', '169.254.169.254'],
  ['https://kubernetes.default.svc/', '10.96.0.1'],
  ['https://host.docker.internal/', '192.168.65.2'],
  ['https://127.0.0.1.nip.io/', '127.0.0.1'],
  ['https://7f000001.nip.io/', '127.0.0.1'],
  ['https://10.0.0.1.sslip.io/', '10.0.0.1'],
  ['https://localtest.me/', '127.0.0.1', '::1'],
  ['https://a.localhost/', '127.0.0.1'],
  ['https://spoofed.example.com/', '0.0.0.0'],
  ['https://six.example.com/', '::1'],
  ['https://six.example.com/', '::'],
  ['https://mapped.example.com/', '::ffff:169.254.169.254'],
  ['https://mapped.example.com/', '::ffff:7f00:1'],
  ['https://compatible.example.com/', '::7f00:1'],
  ['https://nat64.example.com/', '64:ff9b::a9fe:a9fe'],
  ['https://nat64local.example.com/', '64:ff9b:1::7f00:1'],
  ['https://six2four.example.com/', '2002:7f00:1::1'],
  ['https://teredo.example.com/', '2001:0:7f00:1::1'],
  ['https://unique-local.example.com/', 'fd00:ec2::254'],
  ['https://link-local.example.com/', 'fe80::1'],
  ['https://link-local.example.com/', 'fe80::1%lo'],
  ['https://multicast.example.com/', '239.255.255.250', 'ff02::1'],
  ['https://platform.example.com/', '168.63.129.16'],
  ['https://broken-resolver.example.com/', 'not an address'],
];

/** Must pass: a rule that refuses everything would pass every other test. */
export const GOOD_URLS: readonly string[] = [
  'https://example.com/', 'https://hooks.example.com/a/b?c=d&e=f', 'https://example.com:8443/hook', 'https://xn--bcher-kva.example/', 'https://1.1.1.1/', 'https://8.8.8.8:8443/hook',
  'https://[2606:4700:4700::1111]/', 'https://[2001:4860:4860::8888]:8443/x', 'https://example.com/%0d%0a', 'https://example.com/a%20b', 'https://example.com/?url=http://127.0.0.1/', 'https://127.0.0.1.example.com/',
  'https://example.com//double', 'https://example.com/@user', 'https://example.com/a:b;c=d,e', 'https://a-b_c.example.com/', `https://example.com/hook?cb=${'a'.repeat(2000)}`,
];
