/**
 * Tests the vectors in another language: `spec-schema/vectors.py` agrees with every family that it
 * reads, and reads every one that it can.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { ROOT } from '../tidy/sources.ts';

const script = join(ROOT, 'spec-schema', 'vectors.py');
const run = (file: string) => spawnSync('python3', [file], { encoding: 'utf8', timeout: 60_000 });
const hasPython = spawnSync('python3', ['--version']).status === 0;

describe('the vectors in Python', { skip: !hasPython }, () => {
  test('agree, family by family', (context) => {
    const { status, stdout, stderr } = run(script);
    assert.equal(status, 0, stdout + stderr);
    const families = stdout.trim().split('\n');
    const passed = families.map((line) => Number(/ (\d+) passed, 0 failed$/.exec(line)?.[1] ?? 0));
    void context.annotate(
      `${passed.reduce((sum, count) => sum + count, 0)} cases in ${passed.filter(Boolean).length} families`,
    );
    assert.deepEqual(
      families.filter((line) => / left out: /.test(line)).map((line) => line.split(' ')[0]),
      ['callback-url-token', 'delivery-jws'],
    );
    assert.ok(passed.filter(Boolean).length >= 10);
  });

  test('detect a wrong case, which fails the run', (context) => {
    const folder = mkdtempSync(join(tmpdir(), 'vectors-'));
    context.onTestFinished(() => rmSync(folder, { recursive: true }));
    cpSync(join(ROOT, 'spec-schema'), folder, { recursive: true });
    const file = join(folder, 'draft', 'vectors', 'webhook-id.json');
    writeFileSync(
      file,
      readFileSync(file, 'utf8').replace('"afterSequence": 5', '"afterSequence": 6'),
    );
    const { status, stdout } = run(join(folder, 'vectors.py'));
    assert.equal(status, 1);
    assert.match(
      stdout,
      /^webhook-id 1 \(two events\): verdict is "invalid" here and "valid" in the vector$/m,
    );
  });
});
