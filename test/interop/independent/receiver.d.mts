// Types of receiver.mjs, as far as the test uses it.
import type { Reader } from './client.mjs';

export interface Seen {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: Buffer;
}
export class Receiver {
  constructor(options: { reader: Reader; now?: () => number });
  readonly origin: string;
  readonly requests: Seen[];
  readonly answers: { status: number; body?: unknown }[];
  listen(): Promise<void>;
  close(): Promise<void>;
  register(path: string, options: { secrets: string[]; jwksUri?: string; issuer?: string }): string;
}
export function verifyWebhook(input: {
  headers: Record<string, string>;
  body: Buffer;
  secrets: string[];
  nowMs: number;
}): string;
export function verifyServer(input: {
  token: string;
  body: Buffer;
  issuer: string;
  url: string;
  subscriptionId: string;
  keys: object[];
  nowMs: number;
}): void;
export function isProof(secret: string, challenge: string, answer: unknown): boolean;
export function webhookId(delivery: {
  subscriptionId: string;
  epoch: string;
  afterSequence: number;
  last: number;
  gaps?: { from: number; to: number }[];
}): string;
