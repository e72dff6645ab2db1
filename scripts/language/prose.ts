/**
 * The texts of a file that people read: comments, test titles, log lines, errors and other strings,
 * and the words in names.
 */
import ts from 'typescript';

export type Kind = 'comment' | 'title' | 'log' | 'error' | 'string' | 'document' | 'name';

export interface Piece {
  readonly kind: Kind;
  readonly line: number;
  /**
   * The text on one line. Code in it is replaced by spaces: identifiers are checked where they are
   * declared.
   */
  readonly text: string;
  /** The text as it is in the file. */
  readonly source: string;
  /** Line of the file for a position in `text`. */
  lineAt(position: number): number;
}

const LEVELS = new Set(['trace', 'debug', 'info', 'warn', 'error', 'fatal']);
const blank = (text: string): string => text.replace(/[^\n]/g, ' ');

/**
 * Splits a file into pieces. Markdown is one document without its code; any other file is read as
 * TypeScript.
 */
export function piecesOf(path: string, text: string): Piece[] {
  return path.endsWith('.md') ? [documentOf(text)] : partsOf(path, text);
}

/** Whether a call writes a log line: `log.warn(…)`, `this.#options.log.error(…)`. */
function isLogCall(node: ts.Node): node is ts.CallExpression {
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return false;
  const { expression: target, name } = node.expression;
  const receiver = ts.isPropertyAccessExpression(target)
    ? target.name.text
    : ts.isIdentifier(target)
      ? target.text
      : '';
  return LEVELS.has(name.text) && /^#?log(ger)?$/.test(receiver);
}

/** Lines of the log calls that pass an error as `cause`. */
export function causesLogged(path: string, text: string): number[] {
  const source = sourceOf(path, text);
  const lines: number[] = [];
  const visit = (node: ts.Node): void => {
    if (isLogCall(node)) {
      for (const argument of node.arguments.filter(ts.isObjectLiteralExpression)) {
        for (const member of argument.properties) {
          if (member.name?.getText(source) === 'cause')
            lines.push(source.getLineAndCharacterOfPosition(member.getStart(source)).line + 1);
        }
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return lines;
}

function sourceOf(path: string, text: string): ts.SourceFile {
  return ts.createSourceFile(
    path,
    text,
    ts.ScriptTarget.Latest,
    true,
    /\.m?js$/.test(path) ? ts.ScriptKind.JS : ts.ScriptKind.TS,
  );
}

/** Returns a function that finds the line of a position. */
function linesOf(text: string): (position: number) => number {
  const starts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return (position) => {
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (starts[middle]! <= position) low = middle;
      else high = middle;
    }
    return low + 1;
  };
}

/**
 * Makes a piece. `text` has as many characters as its part of the file that begins at `start`, so
 * that positions can be converted to lines.
 */
function piece(
  lines: (position: number) => number,
  kind: Kind,
  start: number,
  text: string,
  source: string,
): Piece {
  const flat = text.replace(/\n/g, ' ');
  const first = Math.max(0, flat.search(/\S/));
  return {
    kind,
    text: flat,
    source,
    line: lines(start + first),
    lineAt: (position) => lines(start + position),
  };
}

function documentOf(text: string): Piece {
  const prose = text
    .replace(/^---\n[\s\S]*?\n---\n/, blank)
    .replace(/```[\s\S]*?```/g, blank)
    .replace(/`[^`\n]*`/g, blank)
    .replace(/\]\([^)\s]*\)/g, (target) => `]${blank(target.slice(1))}`)
    .replace(/<!--[\s\S]*?-->/g, blank);
  return piece(linesOf(text), 'document', 0, prose, text);
}

function partsOf(path: string, text: string): Piece[] {
  const source = sourceOf(path, text);
  const lines = linesOf(text);
  const pieces = commentsOf(source).map(([start, end]) => {
    const comment = text.slice(start, end);
    return piece(lines, 'comment', start, commentText(comment), comment);
  });
  const visit = (node: ts.Node): void => {
    const start = node.getStart(source);
    if (ts.isStringLiteralLike(node) || ts.isTemplateExpression(node)) {
      const content = literalText(node, source);
      if (/\S\s+\S/.test(content))
        pieces.push(piece(lines, kindOf(node), start, content, node.getText(source)));
    } else if (ts.isIdentifier(node) || ts.isPrivateIdentifier(node)) {
      pieces.push({
        kind: 'name',
        text: wordsOf(node.text),
        source: node.text,
        line: lines(start),
        lineAt: () => lines(start),
      });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return pieces;
}

/** The words of a name: `read Store 2` of `readStore_2`. */
export function wordsOf(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1 $2')
    .replace(/[_#$./-]/g, ' ');
}

/** Finds the positions of all comments. Consecutive line comments count as one. */
function commentsOf(source: ts.SourceFile): [start: number, end: number][] {
  const found = new Map<number, number>();
  const add = (ranges: readonly ts.CommentRange[] | undefined): void =>
    ranges?.forEach(({ pos, end }) => found.set(pos, end));
  const visit = (node: ts.Node): void => {
    if (node.kind === ts.SyntaxKind.JsxText) return;
    add(ts.getLeadingCommentRanges(source.text, node.getFullStart()));
    add(ts.getTrailingCommentRanges(source.text, node.getEnd()));
    node.getChildren(source).forEach(visit);
  };
  visit(source);
  const merged: [number, number][] = [];
  for (const [start, end] of [...found].sort(([a], [b]) => a - b)) {
    const last = merged.at(-1);
    const joins =
      last !== undefined &&
      source.text.startsWith('//', start) &&
      source.text.startsWith('//', last[0]) &&
      /^\n[ \t]*$/.test(source.text.slice(last[1], start));
    if (joins) last[1] = end;
    else merged.push([start, end]);
  }
  return merged;
}

function commentText(comment: string): string {
  return comment
    .replace(/^\/\*+|\*+\/$/g, blank)
    .replace(/^[ \t]*(\*|\/\/+)/gm, blank)
    .replace(/\/\/+/g, blank)
    .replace(/`[^`]*`/g, blank)
    .replace(/\{@\w+[^}]*\}|@\w+/g, blank)
    .replace(/https?:\S+/g, blank);
}

/**
 * The text of a literal, with spaces in place of its quotes, its expressions and the requirement
 * ids of a title.
 */
function literalText(
  node: ts.StringLiteralLike | ts.TemplateExpression,
  source: ts.SourceFile,
): string {
  const start = node.getStart(source);
  let text = node.getText(source);
  if (ts.isTemplateExpression(node)) {
    for (const { expression } of node.templateSpans) {
      const from = expression.getFullStart() - start - 2;
      text =
        text.slice(0, from) +
        blank(text.slice(from, expression.getEnd() - start + 1)) +
        text.slice(expression.getEnd() - start + 1);
    }
  }
  return ` ${text.slice(1, -1)} `
    .replace(/\[[a-z0-9-]+( [a-z0-9-]+)*\]/g, blank)
    .replace(/\\[nrt]/g, blank);
}

function kindOf(node: ts.Node): Kind {
  for (let at: ts.Node = node; at.parent !== undefined && !ts.isBlock(at.parent); at = at.parent) {
    const { parent } = at;
    if (isLogCall(parent)) return 'log';
    if (ts.isThrowStatement(parent)) return 'error';
    const name =
      ts.isCallExpression(parent) || ts.isNewExpression(parent) ? parent.expression.getText() : '';
    if (/^(test|it|describe)\b/.test(name) && (parent as ts.CallExpression).arguments[0] === at)
      return 'title';
    if (
      /Error$|^(?:invalid|refus|conflict|notFound|forbidden|unsupported|exhausted|misbehav|usage)/i.test(
        name,
      )
    )
      return 'error';
  }
  return 'string';
}
