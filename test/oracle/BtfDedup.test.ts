/**
 * Dedup beside libbpf's: the running kernel's types and all fixtures appended to themselves, generated units, programs of
 * several C files, byte for byte; and what it does differently on purpose.
 */
import { assert, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfDedup from "../../src/btf/BtfDedup.ts"
import * as BtfEdit from "../../src/btf/BtfEdit.ts"
import { toByteOrder } from "../../src/btf/BtfEncode.ts"
import * as BtfExt from "../../src/btf/BtfExt.ts"
import { assemble, imageOf } from "../../src/btf/BtfImage.ts"
import * as Arbitrary from "../support/arbitrary/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import { classes } from "../support/BtfClasses.ts"
import * as BtfPeer from "../support/BtfPeer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { differences } from "../support/DedupCases.ts"
import { allFixtures, describeWith, fixture, run, runs, temporaryFolder } from "../support/Require.ts"

const parsed = (bytes: Uint8Array): Btf.Btf => B.expectSuccess(Btf.parse(bytes))

const read = (path: string): Uint8Array => new Uint8Array(Fs.readFileSync(path))

const appended = (...[first, ...others]: ReadonlyArray<Btf.Btf>): Btf.Btf => {
  if (first === undefined) throw new Error("nothing to append to")
  const editor = BtfEdit.edit(first)
  for (const other of others) B.expectSuccess(editor.append(other))
  return B.expectSuccess(editor.finish())
}

/**
 * The blob in the byte order of the machine and without a layout area: libbpf 1.5 does not know the area, and refuses
 * blobs of the other order whose header has room for it.
 */
const native = (bytes: Uint8Array): Btf.Btf => {
  const swapped = parsed(B.expectSuccess(toByteOrder(parsed(bytes), "little")))
  return B.expectSuccess(assemble({ ...imageOf(swapped), headerLength: 24, layout: new Uint8Array(0) }))
}

const assertEqualBytes = (ours: Uint8Array, theirs: Uint8Array, what: string): void =>
  assert.strictEqual(Buffer.compare(ours, theirs), 0, `${what}: ${ours.length} bytes, libbpf has ${theirs.length}`)

/** Each blob, deduplicated, is the answer to it. */
const assertEqual = (inputs: ReadonlyArray<Btf.Btf>, answers: ReadonlyArray<BtfPeer.Answer>): void => {
  for (const [index, btf] of inputs.entries()) {
    const answer = answers[index]
    if (answer === undefined) throw new Error("an answer is missing")
    assertEqualBytes(
      B.expectSuccess(BtfDedup.dedup(btf)).btf.bytes,
      BtfPeer.resultOf(answer),
      `${index}: ${BtfPeer.inline(btf.bytes)}`
    )
  }
}

const vmlinux = "/sys/kernel/btf/vmlinux"

for (const version of Libbpf.versions) {
  describeWith(
    { kind: "oracle", tools: Libbpf.needs(version).tools, files: [...Libbpf.needs(version).files, vmlinux] },
    `dedup of the running kernel's types beside libbpf (${version})`,
    () => {
      it("appended to themselves, they are libbpf's result, byte for byte", () => {
        const out = Path.join(temporaryFolder(), "twice.btf")
        assert.isUndefined(BtfPeer.ask(version, "dedup-twice", vmlinux, out).error)
        const btf = parsed(read(vmlinux))
        const { btf: ours, map, report } = B.expectSuccess(BtfDedup.dedup(appended(btf, btf)))
        assertEqualBytes(ours.bytes, read(out), "vmlinux")
        assert.isFalse(report.exhausted)
        // Both copies of a type have become one, but for variables and what refers to them.
        let apart = 0
        for (let id = 1; id < btf.endId; id++) apart += map[id] === map[btf.endId - 1 + id] ? 0 : 1
        assert.strictEqual(ours.endId - apart, B.expectSuccess(BtfDedup.dedup(btf)).btf.endId)
      })
    }
  )

  describeWith({ kind: "oracle", ...Libbpf.needs(version) }, `dedup beside libbpf (${version})`, () => {
    it("of all fixtures appended to themselves is equal byte for byte", () => {
      const blobs = allFixtures().map((name) => ({ name, btf: parsed(B.elfSection(fixture(name), ".BTF")) }))
      const doubled = blobs.map(({ btf }) => appended(btf, btf))
      const answers = BtfPeer.batch(version, doubled.map((btf) => ["dedup", BtfPeer.inline(btf.bytes), "-"]))
      for (const [index, btf] of doubled.entries()) {
        const answer = answers[index]
        if (answer === undefined) throw new Error("an answer is missing")
        const ours = B.expectSuccess(BtfDedup.dedup(btf)).btf
        assertEqualBytes(ours.bytes, BtfPeer.resultOf(answer), blobs[index]?.name ?? "")
      }
    })

    it("of all fixtures with .BTF.ext rewrites its records alike", () => {
      const names = allFixtures()
      const folder = Path.join(import.meta.dirname, "../fixtures")
      const answers = BtfPeer.batch(version, names.map((name) => ["dedup", Path.join(folder, name), "-", "-"]))
      for (const [index, name] of names.entries()) {
        const answer = answers[index]
        if (answer === undefined) throw new Error("an answer is missing")
        const object = fixture(name)
        const btf = parsed(B.elfSection(object, ".BTF"))
        // libbpf says ENOENT where there is none.
        if (answer.error !== undefined) continue
        const ext = B.expectSuccess(BtfExt.parse(B.elfSection(object, ".BTF.ext"), btf))
        const ours = B.expectSuccess(BtfDedup.dedup(btf, { ext }))
        assertEqualBytes(ours.btf.bytes, BtfPeer.resultOf(answer), name)
        if (ours.ext === undefined) throw new Error("no .BTF.ext")
        const theirs = new Uint8Array(Buffer.from(answer.ext_hex ?? "", "hex"))
        // Before 1.5 libbpf writes .BTF.ext of the other byte order in the machine's.
        if (version === "1.5" || btf.byteOrder === "little") assertEqualBytes(BtfExt.encode(ours.ext), theirs, name)
      }
    })

    const seed = { seed: fc.readConfigureGlobal().seed ?? 1 }

    it("of generated units is equal byte for byte", () => {
      const samples = fc.sample(Arbitrary.units({ maxLength: 25 }), { numRuns: runs(250), ...seed })
      const inputs = samples.map(({ concatenated }) => native(concatenated.bytes))
      const answers = BtfPeer.batch(version, inputs.map((btf) => ["dedup", BtfPeer.inline(btf.bytes), "-"]))
      assertEqual(inputs, answers)
    })

    it("of generated split BTF is equal byte for byte", () => {
      const folder = temporaryFolder()
      const samples = fc.sample(Arbitrary.split({ maxLength: 25 }), { numRuns: runs(150), ...seed })
      const inputs = samples.map(({ base, whole }, index) => {
        // Of doubles in the base libbpf takes the one that its hash table has first.
        const { btf: ofBase } = B.expectSuccess(BtfDedup.dedup(native(base.bytes)))
        Fs.writeFileSync(Path.join(folder, `${index}.btf`), ofBase.bytes)
        const editor = BtfEdit.make({ base: ofBase })
        for (let times = 0; times < 2; times++) B.expectSuccess(editor.append(native(whole.bytes)))
        return B.expectSuccess(editor.finish())
      })
      const answers = BtfPeer.batch(
        version,
        inputs.map((btf, index) => [
          "dedup",
          BtfPeer.inline(btf.bytes),
          "-",
          "--base",
          Path.join(folder, `${index}.btf`)
        ])
      )
      assertEqual(inputs, answers)
    })

    for (const { libbpf, name, types } of differences) {
      it(`differs on purpose: ${name}`, () => {
        const [answer] = BtfPeer.batch(version, [["dedup", BtfPeer.inline(B.blob(types)), "-"]], { seconds: 1 })
        if (typeof libbpf === "string") assert.strictEqual(answer?.error?.name, libbpf)
        else assert.strictEqual(answer?.result?.types, libbpf)
      })
    }
  })
}

/** Files of one program: what they share is in a header, and each has something of its own. */
const header = `
struct list { struct list *next, *prev; };
enum color { RED, GREEN = 1 << 20 };
typedef unsigned long word_t;
struct device;
struct driver;
union value { int i; float f; struct { short low, high; } halves; };
typedef int (*handler_t)(struct device *device, union value value, ...);
struct bits { unsigned a : 3, b : 29; _Bool c : 1; };
`

const sources: Readonly<Record<string, string>> = {
  "device.c": `
#include "shared.h"
enum state { OFF, ON };
struct device { struct list list; struct driver *driver; const volatile word_t flags; enum color color; char name[16]; };
struct timer { struct list list; void (*expire)(struct timer *); };
static int local(struct device *device) { return device->flags != 0; }
int device_open(struct device *device, handler_t handler) { union value v = { 1 }; return handler(device, v) + local(device); }
struct timer *device_timer(struct device *device, struct bits *bits) { return (void *)device->list.next + bits->a; }
`,
  "driver.c": `
#include "shared.h"
enum state { OFF, ON };
struct driver { struct list list; handler_t open, close; struct { int users; union value last; } stats[4]; };
struct timer { int other; };
static int local(struct driver *driver) { return driver->stats[0].users; }
int driver_open(struct driver *driver, struct device *device) { union value v = { 2 }; return driver->open(device, v) + local(driver); }
struct timer *driver_timer(struct driver *driver, enum state state) { return (void *)(driver->list.prev + state); }
`,
  "user.c": `
#include "shared.h"
struct timer;
struct driver { struct list list; handler_t open, close; struct { int users; union value last; } stats[4]; };
struct user { struct user *parent; struct device *device; struct driver driver; struct timer *timer; int matrix[3][5]; };
int user_add(struct user *restrict user, struct user *parent) { user->parent = parent; return user->matrix[1][2]; }
enum color user_color(struct user *user) { return user->driver.stats[2].users ? RED : GREEN; }
`
}

const files = Object.keys(sources)

/** Writes and compiles the files; answers the objects' paths. */
const compiled = (compiler: string, ...flags: ReadonlyArray<string>): ReadonlyArray<string> => {
  const folder = temporaryFolder()
  Fs.writeFileSync(Path.join(folder, "shared.h"), header)
  return files.map((name) => {
    Fs.writeFileSync(Path.join(folder, name), sources[name] ?? "")
    const done = run(compiler, [...flags, "-g", "-O1", "-w", "-c", name, "-o", `${name}.o`], { cwd: folder })
    assert.strictEqual(done.status, 0, done.stderr)
    return Path.join(folder, `${name}.o`)
  })
}

const libbpfsOf = (btf: Btf.Btf): Uint8Array =>
  BtfPeer.resultOf(BtfPeer.ask("system", "dedup", BtfPeer.inline(btf.bytes), "-"))

const paholes = (path: string): Btf.Btf => {
  const out = `${path}.btf`
  const done = run("pahole", ["-J", `--btf_encode_detached=${out}`, path])
  assert.strictEqual(done.status, 0, done.stderr)
  return parsed(read(out))
}

describeWith(
  { kind: "oracle", tools: ["clang", ...Libbpf.needs("system").tools] },
  "dedup of BPF objects of several files",
  () => {
    for (const target of ["bpf", "bpfeb"]) {
      it(`of clang's BTF for ${target} is libbpf's`, () => {
        const btf = appended(
          ...compiled("clang", "-target", target).map((path) => parsed(B.elfSection(read(path), ".BTF")))
        )
        const { btf: ours, report } = B.expectSuccess(BtfDedup.dedup(btf))
        assertEqualBytes(ours.bytes, libbpfsOf(btf), target)
        assert.isBelow(report.types.after, report.types.before * 0.7)
        // The two structs called timer, the functions called local are no duplicates by name alone.
        assert.deepEqual(report.survivors.map(({ id }) => Btf.nameOf(ours, id)), ["timer", "timer"])
        assert.sameMembers(report.survivors.map(({ reason }) => reason), ["Shape", "Ambiguous"])
      })
    }
  }
)

for (const compiler of ["cc", "clang"]) {
  describeWith(
    { kind: "oracle", tools: [compiler, "pahole", ...Libbpf.needs("system").tools] },
    `dedup of pahole's BTF of ${compiler}'s objects`,
    () => {
      it("file by file is libbpf's, and has the types of the whole program", () => {
        const objects = compiled(compiler)
        const btf = appended(...objects.map(paholes))
        const { btf: ours } = B.expectSuccess(BtfDedup.dedup(btf))
        assertEqualBytes(ours.bytes, libbpfsOf(btf), compiler)
        const program = Path.join(Path.dirname(objects[0] ?? ""), "program.so")
        const linked = run(compiler === "cc" ? "cc" : "clang", ["-shared", "-o", program, ...objects])
        assert.strictEqual(linked.status, 0, linked.stderr)
        const whole = paholes(program)
        const [one = [], other = []] = classes([ours, whole])
        assert.sameMembers([...new Set(one)], [...new Set(other)])
        assert.strictEqual(ours.endId, whole.endId)
      })
    }
  )
}
