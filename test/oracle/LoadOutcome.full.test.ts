/**
 * The outcome of loading real objects, by us and by libbpf 1.5: the kernel's self-tests, samples and perf's programs of
 * Linux 6.1. Which stage fails, with which error, at which program, map or extern, and how much the kernel took: the same
 * for at least 99 of 100 objects, and each of the rest is of a kind that a few lines of C show, here, to be libbpf's
 * weakness.
 */
import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Open from "../../src/stages/open/Open.ts"
import * as Libbpf from "../support/Libbpf.ts"
import * as LoadInChild from "../support/LoadInChild.ts"
import { agree, compile, libbpfs, ofOurs, type Outcome, type PeerOutcome, show } from "../support/LoadOutcome.ts"
import { loadOurs, type OurLoad } from "../support/LoadOurs.ts"
import { bpffs, corpus, corpusFolder, describeWith } from "../support/Require.ts"

/** The verifier may look at a million instructions, which takes it seconds. */
const limitSeconds = 120

/** One object, loaded by both. */
interface Pair {
  readonly path: string
  readonly load: OurLoad
  readonly ours: Outcome
  readonly libbpf: PeerOutcome
}

const positionOf = (path: string, program: string | null): number => {
  const object = Result.getOrThrow(Open.fromBytes(new Uint8Array(Fs.readFileSync(path)), { path }))
  return object.programs.findIndex(({ name }) => name === program)
}

/** The ways in which an outcome is another than libbpf's. Each has a test below that shows it in small. */
const exceptions: Readonly<Record<string, (pair: Pair) => boolean>> = {
  /** libbpf looks for kernel symbols of programs that it is told not to load. */
  symbolsOfOthers: ({ libbpf, ours }) =>
    (ours.stage === "loaded" || ours.stage === "load") && libbpf.stage === "prepare" &&
    /extern \((func|var) ksym\) .* not found in kernel/.test(libbpf.log),
  /** libbpf makes maps and loads programs of an object that cannot be loaded, until it comes to what is wrong with it. */
  toldBefore: ({ libbpf, load, ours, path }) =>
    load.stage === "plan" && ours.maps === 0 && ours.programs === 0 && libbpf.stage === "load" &&
    positionOf(path, libbpf.subject) < positionOf(path, ours.subject)
}

const kindOf = (pair: Pair): string | undefined => Object.keys(exceptions).find((name) => exceptions[name]?.(pair))

describeWith(
  { kind: "live", tools: [...Libbpf.needs("1.5").tools], files: [...Libbpf.needs("1.5").files, corpusFolder] },
  "outcomes of loading the corpus, beside libbpf 1.5",
  () => {
    const loader = LoadInChild.make(limitSeconds * 1000)
    afterAll(() => loader.close())
    const pairs: Array<Pair> = []
    const broken: Array<string> = []

    beforeAll(async () => {
      const paths = corpus().filter((path) => path.startsWith(Path.join(corpusFolder, "objects")))
      const theirs = libbpfs(paths.map((path) => ({ path })), limitSeconds)
      const pinRoot = Path.join(bpffs(), "ours")
      for (const [index, path] of paths.entries()) {
        const outcome = await loader.load({ path, pinRoot })
        Fs.rmSync(pinRoot, { recursive: true, force: true })
        const libbpf = theirs[index]
        if (libbpf === undefined) throw new Error("libbpf gave no outcome")
        if (outcome._tag === "Ended") broken.push(`${Path.basename(path)}: ${outcome.how}`)
        else {
          if (outcome.leaked > 0) broken.push(`${Path.basename(path)}: ${outcome.leaked} descriptors are left open`)
          pairs.push({ path, load: outcome.load, ours: ofOurs(outcome.load), libbpf })
        }
      }
    }, 1_500_000)

    it("every load ends, and leaves nothing open", () => {
      assert.deepStrictEqual(broken, [])
    })

    it("at least 99 of 100 are the same, and the rest is of known kinds", () => {
      const differing = pairs.filter(({ libbpf, ours }) => !agree(ours, libbpf))
      const unexplained = differing.filter((pair) => kindOf(pair) === undefined)
      assert.deepStrictEqual(
        unexplained.map(({ libbpf, load, ours, path }) =>
          `${Path.basename(path)}: ours: ${show(ours)} (${load.error?.message.slice(0, 300)}); libbpf: ${show(libbpf)}`
        ),
        []
      )
      assert.isAtLeast(pairs.length, 440)
      assert.isAtMost(differing.length, pairs.length / 100, differing.map(({ path }) => Path.basename(path)).join(" "))
      assert.isAtLeast(pairs.filter(({ libbpf, ours }) => ours.stage === "loaded" && agree(ours, libbpf)).length, 300)
      // A kind that no longer occurs is taken out.
      assert.deepStrictEqual(
        [...new Set(differing.map((pair) => kindOf(pair) ?? ""))].sort(),
        Object.keys(exceptions).sort()
      )
    })

    it("another stage, error, subject or number of programs is seen", () => {
      const failed: Outcome = { stage: "load", errno: "EINVAL", subject: "count", programs: 2, maps: 1 }
      assert.isTrue(agree(failed, failed))
      assert.isTrue(agree({ ...failed, maps: 0 }, failed))
      const bent: ReadonlyArray<Partial<Outcome>> = [
        { stage: "prepare" },
        { errno: "EACCES" },
        { subject: "other" },
        { subject: null },
        { programs: 3 },
        { maps: 2 }
      ]
      for (const each of bent) assert.isFalse(agree({ ...failed, ...each }, failed), JSON.stringify(each))
    })
  }
)

const includes = "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\nchar _license[] SEC(\"license\") = \"GPL\";\n"

const needs = { tools: [...Libbpf.needs("1.5").tools, "clang"], files: Libbpf.needs("1.5").files }

describeWith({ kind: "live", ...needs }, "outcomes that differ, in small", () => {
  const both = async (path: string) => {
    const load = await loadOurs(new Uint8Array(Fs.readFileSync(path)), { path })
    const [libbpf] = libbpfs([{ path }])
    return { load, ours: ofOurs(load), libbpf }
  }

  it("symbolsOfOthers: a kernel function that only a program needs which is not loaded", async () => {
    const source = (section: string): string =>
      `${includes}
      extern void effect_bpf_no_such_function(void) __ksym;
      SEC("${section}") int calls(struct __sk_buff *skb) { effect_bpf_no_such_function(); return 0; }
      SEC("socket") int count(struct __sk_buff *skb) { return skb->len; }`
    const optional = await both(compile("optional", source("?tc")))
    // Nothing that is loaded needs the function: with the kernel as it is, the other program runs.
    assert.deepStrictEqual(optional.ours, { stage: "loaded", errno: null, subject: null, programs: 1, maps: 0 })
    assert.strictEqual(optional.libbpf?.stage, "prepare")
    assert.strictEqual(optional.libbpf?.subject, "effect_bpf_no_such_function")
    // Named fault: where it is needed, we say the same as libbpf.
    const needed = await both(compile("needed", source("tc")))
    assert.strictEqual(needed.ours.subject, "effect_bpf_no_such_function")
    assert.isTrue(needed.libbpf !== undefined && agree(needed.ours, needed.libbpf))
  })

  it("toldBefore: a program without a target, behind one that the verifier refuses", async () => {
    const source = (section: string): string =>
      `${includes}
      struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, int); __type(value, int); } seen
        SEC(".maps");
      SEC("socket") int good(struct __sk_buff *skb) { int key = skb->len; bpf_map_lookup_elem(&seen, &key); return 0; }
      SEC("socket") int bad(struct __sk_buff *skb) { int key = skb->len; return *(int *)bpf_map_lookup_elem(&seen, &key); }
      SEC("${section}") int aimless(void *ctx) { return 0; }`
    const { libbpf, load, ours } = await both(compile("aimless", source("fentry")))
    // No kernel would load this object: libbpf has made a map and loaded a program before it can tell.
    assert.deepStrictEqual(ours, { stage: "load", errno: "EINVAL", subject: "aimless", programs: 0, maps: 0 })
    assert.isEmpty(load.sent.filter((call) => !call.probe))
    assert.deepStrictEqual(
      { ...libbpf, log: "" },
      { stage: "load", errno: "EACCES", subject: "bad", programs: 1, maps: 1, log: "" }
    )
    // Named fault: with a target, both name the program that the verifier refuses.
    const aimed = await both(compile("aimed", source("raw_tp/sys_enter")))
    assert.strictEqual(aimed.ours.subject, "bad")
    assert.isTrue(aimed.libbpf !== undefined && agree(aimed.ours, aimed.libbpf))
  })
})
