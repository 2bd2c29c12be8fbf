/**
 * struct_ops and arenas before their judge, libbpf 1.5: the same calls with the same contents (the sizes of values, the ids of
 * the kernel's structs, what each program is for), and of 24 structs that are small variations of one the same verdict.
 */
import { assert, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Libbpf from "../support/Libbpf.ts"
import { loadDifferences, whichDeliberate } from "../support/LoadedBeside.ts"
import { loadOurs, openDescriptors } from "../support/LoadOurs.ts"
import type { CallDifference } from "../support/Normalise.ts"
import * as Peer from "../support/Peer.ts"
import { describeWith, fixture, repository, run, temporaryFolder } from "../support/Require.ts"

const show = ({ at, field, libbpf, ours }: CallDifference): string =>
  `${at}: ${field} is ${ours}, libbpf has ${libbpf}`.slice(0, 2000)

const loadBoth = async (path: string, bytes: Uint8Array) => {
  const libbpf = Peer.load(path, [], "1.5")
  const ours = await loadOurs(bytes, { path })
  return { libbpf, ours, found: loadDifferences(ours, libbpf) }
}

/** Differences that are not meant. */
const unmeant = (found: ReadonlyArray<CallDifference>): ReadonlyArray<string> =>
  found.filter((each) => whichDeliberate(each) !== "kernelVersion").map(show)

const needs = Libbpf.needs("1.5")

describeWith({ ...needs, kind: "live" }, "struct_ops and arenas, beside libbpf 1.5", () => {
  for (const name of ["struct_ops", "arena", "arena_anywhere", "arena_empty"]) {
    it(`${name}.bpf.o`, async () => {
      const path = Path.join(repository, "test/fixtures", `${name}.bpf.o`)
      const { found, libbpf, ours } = await loadBoth(path, fixture(`${name}.bpf.o`))
      assert.strictEqual(libbpf.error, undefined, libbpf.error?.log)
      assert.strictEqual(ours.stage, "loaded", ours.error?.message)
      assert.deepStrictEqual(unmeant(found), [])
      assert.strictEqual(openDescriptors(), 0)
    })
  }

  it("struct_ops_link.bpf.o, in which libbpf takes the second optional variable for one that is not", async () => {
    const path = Path.join(repository, "test/fixtures/struct_ops_link.bpf.o")
    const { libbpf, ours } = await loadBoth(path, fixture("struct_ops_link.bpf.o"))
    const maps = (calls: ReadonlyArray<Peer.Call>) =>
      calls.flatMap(({ command, name, probe }) => command === "MAP_CREATE" && !probe ? [name] : [])
    assert.strictEqual(ours.stage, "loaded", ours.error?.message)
    assert.deepStrictEqual(maps(libbpf.calls ?? []), ["linked", "future"])
    assert.deepStrictEqual(maps(ours.sent), ["linked"])
    // What both make is the same.
    const linked = (calls: ReadonlyArray<Peer.Call>) => {
      const call = calls.find(({ command, name, probe }) => command === "MAP_CREATE" && name === "linked" && !probe)
      const { btf_vmlinux_value_type_id: type, map_flags: flags, value_size: size } = call ?? assert.fail()
      return { type, flags, size }
    }
    assert.deepStrictEqual(linked(ours.sent), linked(libbpf.calls ?? []))
    assert.strictEqual(linked(ours.sent).flags, 0x2000)
  })

  it("a bent size, struct or member is seen", async () => {
    const path = Path.join(repository, "test/fixtures/struct_ops.bpf.o")
    const { libbpf, ours } = await loadBoth(path, fixture("struct_ops.bpf.o"))
    const seen = (edit: (call: Peer.Call) => Partial<Peer.Call>): ReadonlyArray<string> => {
      const bent = { ...libbpf, calls: (libbpf.calls ?? []).map((call) => ({ ...call, ...edit(call) })) }
      return [
        ...new Set(loadDifferences(ours, bent).filter((each) => !whichDeliberate(each)).map(({ field }) => field))
      ]
    }
    assert.deepStrictEqual(seen(() => ({})), [])
    for (
      const field of ["value_size", "btf_vmlinux_value_type_id", "attach_btf_id", "expected_attach_type"] as const
    ) {
      assert.deepStrictEqual(
        seen((call) => (call[field] ?? 0) === 0 || call.probe ? {} : { [field]: (call[field] ?? 0) + 1 }),
        [field]
      )
    }
  })
})

/** A variation: the members behind the functions, what is in them, and how libbpf judges it. */
interface Variation {
  readonly members?: string
  readonly values?: string
  /** The struct's name; default `tcp_congestion_ops`. */
  readonly type?: string
  readonly functions?: string
  readonly filled?: string
  readonly more?: string
  readonly section?: string
  readonly programs?: string
  /** The error that libbpf gives up with; absent where it loads. */
  readonly errno?: string
}

const functions = `__u32 (*ssthresh)(struct sock *sk);
  void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
  __u32 (*undo_cwnd)(struct sock *sk);`

const filled = ".ssthresh = (void *)f, .cong_avoid = (void *)g, .undo_cwnd = (void *)h,"

const source = (variation: Variation): string => `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
struct sock;
struct list { void *next, *prev; };
struct ${variation.type ?? "tcp_congestion_ops"} {
  ${variation.functions ?? functions}
  ${variation.members ?? ""}
  char name[16];
};
SEC("${variation.programs ?? "struct_ops"}") __u32 BPF_PROG(f, struct sock *sk) { return 2; }
SEC("${variation.programs ?? "struct_ops"}") void BPF_PROG(g, struct sock *sk, __u32 ack, __u32 acked) {}
SEC("${variation.programs ?? "struct_ops"}") __u32 BPF_PROG(h, struct sock *sk) { return 3; }
${variation.more ?? ""}
SEC("${variation.section ?? ".struct_ops"}") struct ${variation.type ?? "tcp_congestion_ops"} variable = {
  ${variation.filled ?? filled} ${variation.values ?? ""} .name = "effect_oracle"
};
char LICENSE[] SEC("license") = "GPL";
`

const spare = "SEC(\"struct_ops\") __u32 BPF_PROG(spare, struct sock *sk) { return 4; }"

const variations: Readonly<Record<string, Variation>> = {
  "as the kernel has it": { members: "__u32 flags;", values: ".flags = 2," },
  "a flavor of it": { type: "tcp_congestion_ops___mine" },
  "a link's": { section: ".struct_ops.link" },
  "functions in another order": {
    functions: functions.split("\n").reverse().join("\n")
  },
  "programs that are optional": { programs: "?struct_ops" },
  "two variables of the same programs": {
    more: `extern struct tcp_congestion_ops variable;
      SEC(".struct_ops") struct tcp_congestion_ops second = { ${filled} .name = "effect_second" };`
  },
  "a function that is left empty": {
    filled: ".ssthresh = (void *)f, .cong_avoid = (void *)g,",
    programs: "?struct_ops"
  },
  "a newer member, empty": { members: "__u64 newer;" },
  "a newer member with a value": { members: "__u64 newer;", values: ".newer = 1,", errno: "EOPNOTSUPP" },
  "a newer function, empty": { members: "void (*newer)(void);" },
  "a newer function with a program": {
    members: "__u32 (*newer)(struct sock *sk);",
    values: ".newer = (void *)spare,",
    more: spare,
    errno: "EOPNOTSUPP"
  },
  "a number where there is a struct": { members: "__u64 list;", errno: "EOPNOTSUPP" },
  "a struct of the same size": { members: "struct list list;" },
  "a larger number": { members: "__u64 flags;", errno: "EOPNOTSUPP" },
  "a signed number": { members: "__s32 flags;", values: ".flags = 2," },
  "a number behind const and typedef": { members: "const __u32 flags;", values: ".flags = 2," },
  "an enumeration": { members: "enum { ONE = 1 } flags;", errno: "EOPNOTSUPP" },
  "a bit field": { members: "__u32 flags : 3;", errno: "EOPNOTSUPP" },
  "a pointer that is no function": {
    members: "__u32 (*owner)(struct sock *sk);",
    values: ".owner = (void *)spare,",
    more: spare,
    errno: "EOPNOTSUPP"
  },
  "a pointer with a value of its own": { members: "void *owner;", values: ".owner = (void *)16,", errno: "EOPNOTSUPP" },
  "an unnamed member, empty": { members: "struct { __u32 inside; };" },
  "an unnamed member with a value": {
    members: "struct { __u32 inside; };",
    values: ".inside = 1,",
    errno: "EOPNOTSUPP"
  },
  "a struct that the kernel lacks": { type: "effect_no_such_ops", errno: "ESRCH" },
  "a program in two functions": {
    filled: ".ssthresh = (void *)f, .cong_avoid = (void *)g, .undo_cwnd = (void *)f,",
    programs: "?struct_ops",
    errno: "EINVAL"
  },
  "a program that stands nowhere": { more: spare, errno: "EINVAL" }
}

const compile = (name: string, variation: Variation): string => {
  const path = Path.join(temporaryFolder(), `${name.replaceAll(/\W/g, "_")}.o`)
  Fs.writeFileSync(`${path}.c`, source(variation))
  const headers = ["-idirafter", `/usr/include/${process.arch === "x64" ? "x86_64" : "aarch64"}-linux-gnu`]
  const made = run("clang-19", ["--target=bpfel", "-mcpu=v3", "-O2", "-g", ...headers, "-c", `${path}.c`, "-o", path])
  assert.strictEqual(made.status, 0, made.stderr)
  return path
}

describeWith(
  { ...needs, kind: "live", tools: [...needs.tools ?? [], "clang-19"] },
  "variations of a struct, beside libbpf 1.5",
  () => {
    for (const [name, variation] of Object.entries(variations)) {
      it(name, async () => {
        const path = compile(name, variation)
        const { found, libbpf, ours } = await loadBoth(path, new Uint8Array(Fs.readFileSync(path)))
        assert.strictEqual(libbpf.error?.name ?? undefined, variation.errno, libbpf.error?.log)
        if (variation.errno === undefined) {
          assert.strictEqual(ours.stage, "loaded", ours.error?.message)
          assert.deepStrictEqual(unmeant(found), [])
        } else {
          // What libbpf finds when it prepares or loads programs, a plan says before the kernel is asked for anything.
          assert.strictEqual(ours.stage, "plan", ours.error?.message)
          assert.strictEqual(ours.error?.tag, "PlanError")
        }
        assert.strictEqual(openDescriptors(), 0)
      })
    }

    it("are of both kinds", () => {
      const refused = Object.values(variations).filter(({ errno }) => errno !== undefined).length
      assert.deepStrictEqual([refused, Object.keys(variations).length], [12, 25])
    })
  }
)
