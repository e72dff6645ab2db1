/**
 * Constructions that are hard to read. Each row says what to write instead. It has one text that it
 * finds, and one that it must not find.
 */
import { wordsOf, type Piece } from './prose.ts';

export interface Row {
  readonly name: string;
  readonly pattern: RegExp;
  readonly instead: string;
  readonly catches: string;
  readonly spares: string;
  /** Whether the row applies to the words in names too. */
  readonly names?: boolean;
}

/** Start of a sentence: of the text, or after a full stop. */
const START = String.raw`(?<=^\s*|[.!?:]\s+|[.!?]\*?\*?\s+)`;
/** A question mark does not end the sentence. */
const STATEMENT = String.raw`(?![^.!?]*\?)`;
const sentence = (body: string): RegExp => new RegExp(`${START}${body}${STATEMENT}`, 'g');

const BRITISH =
  'amongst|analys(?:e|ed|ing)|artefacts?|(?:mis)?behaviours?|cancell(?:ed|ing)|catalogu(?:e|es|ed|ing)|(?:re)?colour(?:s|ed)?|defence|favour(?:s|ed|ite)?|fulfils?|honour(?:s|ed|ing)?|labell(?:ed|ing)|learnt|licence|modell(?:ed|ing)|neighbour(?:s|ing)?|offence|signall(?:ed|ing)|travell(?:ed|ing)|whilst|(?:author|canonical|custom|(?:de)?serial|final|general|initial|local|material|minim|normal|optim|organ|priorit|random|real|recogn|sanit|special|standard|summar|synchron|token|util|visual)is(?:e|ed|es|er|ing|ation)';

export const ROWS: readonly Row[] = [
  {
    name: 'is none',
    pattern: /\b(?:is|are|was|were|be) none\b/gi,
    instead: '"is not a …", "does not exist"',
    catches: 'a code that is none of the registry',
    spares: 'none of the codes is known',
  },
  {
    name: 'is no',
    pattern:
      /(?<!\bthere )\b(?:is|are|was|were) no (?!longer\b|more\b|less\b|better\b|worse\b|later\b|earlier\b)[a-z]/gi,
    instead: '"is not a …"',
    catches: 'The body is no JSON.',
    spares: 'There is no body, and the key is no longer valid.',
  },
  {
    name: 'may be had',
    pattern: /\b(?:may|can|could|must|to) be had\b/gi,
    instead: '"is available"',
    catches: 'a token to be had from the issuer',
    spares: 'the issuer had a token',
  },
  {
    name: 'is told',
    pattern: /\b(?:is|are|was|were|be|been|being) told\b/gi,
    instead: 'name who sends what: "receives", "is notified", "takes as an argument"',
    catches: 'The client is told the position.',
    spares: 'Events told apart by their ids.',
  },
  {
    name: 'in words',
    pattern: /\bin words\b/gi,
    instead: '"explicitly", "as text"',
    catches: 'An answer acknowledges in words.',
    spares: 'Counts in bytes, then words.',
  },
  {
    name: 'out loud',
    pattern: /\bout loud\b/gi,
    instead: '"explicitly", "reports it"',
    catches: 'It fails out loud.',
    spares: 'It reads out the loudest.',
  },
  {
    name: 'stands behind',
    pattern: /\b(?:stand|stands|stood|standing) behind\b/gi,
    instead: '"is at", "confirms"',
    catches: 'a stream that stands behind a number',
    spares: 'a reader that is behind',
  },
  {
    name: 'a word of its own',
    pattern: /\bwords? of (?:its|their|our|his|her|your) own\b|\bwords of ours\b/gi,
    instead: '"its own name", "our wording"',
    catches: 'Each mode has a word of its own.',
    spares: 'Each mode has its own name.',
  },
  {
    name: 'leave alone',
    pattern:
      /\b(?:leav(?:e|es|ing) (?:it|them|him|her|this|that|these|those|everything) alone|left alone)\b/gi,
    instead: '"leave unchanged", "skip"',
    catches: 'Rows of others are left alone.',
    spares: 'This alone leaves the rows unchanged.',
  },
  {
    name: 'leave away',
    pattern: /\bleav(?:e|es|ing) (?:\S+ ){0,3}?away\b|\bleft away\b/gi,
    instead: '"omit"',
    catches: 'leave away what you do not need',
    spares: 'leave the page and go away',
  },
  {
    name: 'anew',
    pattern: /\banew\b/gi,
    instead: '"restart", "again"',
    catches: 'begin the log anew',
    spares: 'restart the log; a new epoch',
  },
  {
    name: 'earn its place',
    pattern: /\bearn(?:s|ed|ing)? (?:its|their|a) (?:place|keep|line)\b/gi,
    instead: '"justify its complexity", "needs a reason"',
    catches: 'every dependency earns its place',
    spares: 'every dependency has its place',
  },
  {
    name: 'what else was weighed',
    pattern: /\bwhat else (?:was|is) weighed\b/gi,
    instead: '"Alternatives considered"',
    catches: 'What else was weighed',
    spares: 'Alternatives considered',
  },
  {
    name: 'all the same',
    pattern: /\ball the same\b/gi,
    instead: '"anyway", "nevertheless"',
    catches: 'It is delivered all the same.',
    spares: 'All of the same kind.',
  },
  {
    name: 'sentence that starts with Who',
    pattern: sentence(String.raw`Who(?:ever|m|mever)?\s+(?!is\b[^.]*\?)\w+`),
    instead: 'name the actor: "A subscriber that …"',
    catches: 'Done. Who unsubscribed knows.',
    spares: 'Who may call this? Those who subscribed.',
  },
  {
    name: 'sentence that starts with What',
    pattern: sentence(String.raw`What(?:ever)?\s+\w+`),
    instead: 'name the thing: "Entries read from …"',
    catches: 'What was read from one that left.',
    spares: 'What is a gap? That depends on what was read.',
  },
  {
    name: 'sentence that starts with Whichever or Whose',
    pattern: sentence(String.raw`(?:Whichever|Whose)\s+\w+`),
    instead: 'name the thing',
    catches: 'Whichever comes first wins.',
    spares: 'The first, whichever it is, wins.',
  },
  {
    name: 'fragment that starts with Where',
    pattern: sentence(String.raw`Where\s+(?![^.!?]*,)\w[^.!?,]*(?:[.!]|$)`),
    instead: 'name the thing: "The folder that …"',
    catches: 'Where the lock file lies.',
    spares: 'Where two rows agree, the first counts.',
  },
  {
    name: 'sentence that starts with How',
    pattern: sentence(String.raw`How (?:far|long|often|many|much|soon|late|near|deep)\s+\w+`),
    instead: 'name the quantity and its unit: "Entries scanned …", "Delay before … (ms)"',
    catches: 'How far is looked for the end.',
    spares: 'Delay, however long. How long? One second.',
  },
  {
    name: 'metaphor',
    pattern:
      /\b(?:(?:door)?bells?|farewells?|ladders?|rungs?|lanes?|tellers?|tall(?:y|ies|ied)|crowds?|mirror(?:s|ed|ing)?|judg(?:e|es|ed|ing)|doors?)\b/gi,
    names: true,
    instead:
      'ChangeNotifier, termination notice, follower, mode, track, ItemSequencer, AckTracker, SimulatedClients, ReferenceModel, InvariantChecker, ListenerRegistry; "decides", "classifies", "copies"',
    catches: 'ring the doorbell',
    spares: 'notify the indoor listener',
  },
  {
    name: 'British spelling',
    pattern: new RegExp(String.raw`(?<!notifications/)\b(?:${BRITISH})\b`, 'gi'),
    names: true,
    instead: 'the American one: catalog, behavior, canceled, authorize …',
    catches: 'the cancelled catalogue',
    spares: 'the canceled catalog, exercise, otherwise, realistic, notifications/cancelled',
  },
];

/** Findings of one row in a file, as `file:line text`. */
export function findingsIn(
  file: string,
  pieces: readonly Piece[],
  { pattern, names = false }: Row,
): string[] {
  const lines: string[] = [];
  // A comment breaks its lines anywhere.
  const spaced = new RegExp(pattern.source.replaceAll(' ', '\\s+'), pattern.flags);
  if (names) {
    for (const [word] of wordsOf(file).matchAll(pattern))
      lines.push(`${file}:1 "${word}" in the path`);
  }
  for (const piece of pieces) {
    if (piece.kind === 'name' && !names) continue;
    for (const match of piece.text.matchAll(spaced)) {
      const where = `${file}:${piece.lineAt(match.index)}`;
      if (piece.kind === 'name') lines.push(`${where} "${match[0]}" in the name ${piece.source}`);
      else
        lines.push(
          `${where} "${match[0].replace(/\s+/g, ' ').trim()}" in: ${around(piece.text, match.index)}`,
        );
    }
  }
  return [...new Set(lines)];
}

function around(text: string, position: number): string {
  const start = text.slice(0, position).search(/\S+(\s+\S+){0,5}\s*$/);
  const from = start < 0 ? 0 : start;
  return text
    .slice(from, from + 100)
    .replace(/\s+/g, ' ')
    .trim();
}
