/**
 * The kernel as the judge of our text: its verifier prints the instructions that it is given, and bpftool those that the
 * kernel hands back. Programs go in through bpftool, since this room sits below the library's own bpf(2).
 */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { isKnownOpcode } from "../../src/insn/Decode.ts"
import { disassemble } from "../../src/insn/Disassemble.ts"
import * as Encode from "../../src/insn/Encode.ts"
import * as Insn from "../../src/insn/Insn.ts"
import { bpffs, describeWith, run, runs, temporaryFolder } from "../support/Require.ts"
import { computing } from "../support/arbitrary/Insn.ts"

// The verifier prints all instructions, with the registers alive before each, since 6.16. Before, it printed only those
// that it came by, and knew fewer instructions.
const [major = 0, minor = 0] = Os.release().split(".").map(Number)
const modern = major > 6 || (major === 6 && minor >= 16)
const wants = modern ? "" : ` (needs Linux 6.16, this is ${Os.release()})`

/** What the verifier printed: the text of each instruction it listed, and each it printed while it walked the program. */
interface VerifierLog {
  readonly listed: ReadonlyMap<number, string>
  readonly walked: ReadonlyArray<readonly [slot: number, text: string]>
}

const parseLog = (log: string): VerifierLog => {
  const listed = new Map<number, string>()
  const walked: Array<readonly [number, string]> = []
  for (const line of log.split("\n")) {
    // In front of the slot stands the number of the loop that it belongs to, if any.
    const list = /^\s*(?:\d+\s+)?(\d+): [.0-9]{10} (\(..\) .*|BUG_.*)$/.exec(line)
    if (list !== null) listed.set(Number(list[1]), list[2] ?? "")
    const walk = /^(\d+): (\(..\) .*?|BUG_.*?)(\s+;.*)?$/.exec(line)
    if (walk !== null) walked.push([Number(walk[1]), walk[2] ?? ""])
  }
  return { listed, walked }
}

/**
 * Loads an object's programs with bpftool at the highest log level, pinned in a folder of the bpffs, and runs `whilePinned`
 * on the folder's pins. Gives bpftool's messages, among which are the verifier's logs, whether it accepted or not.
 */
const load = (
  object: string,
  options: { readonly type?: string; readonly trace?: string; readonly whilePinned?: (folder: string) => void }
): string => {
  const pins = Path.join(bpffs(), `disassemble_${Path.basename(object, ".o")}`)
  const args = ["-d", "prog", "loadall", object, pins, ...(options.type === undefined ? [] : ["type", options.type])]
  try {
    const loaded = options.trace === undefined ?
      run("bpftool", args) :
      run("strace", ["-f", "-X", "raw", "-v", "-s", "4096", "-e", "trace=bpf", "-o", options.trace, "bpftool", ...args])
    if (options.whilePinned !== undefined) {
      assert.strictEqual(loaded.status, 0, loaded.stderr)
      options.whilePinned(pins)
    }
    return loaded.stderr
  } finally {
    Fs.rmSync(pins, { recursive: true, force: true })
  }
}

describeWith({ kind: "live", tools: ["bpftool", "clang"] }, "the verifier's log of any code", () => {
  /** An object with one program of exactly these bytes. */
  const objectOf = (code: Uint8Array): string => {
    const folder = temporaryFolder()
    const [source, object] = [Path.join(folder, "raw.s"), Path.join(folder, "raw.o")]
    Fs.writeFileSync(
      source,
      [
        `.section socket,"ax"`,
        ".globl f",
        ".type f,@function",
        `f: .byte ${[...code].join(",")}`,
        ".size f, .-f",
        `.section license,"aw"`,
        `.asciz "GPL"`,
        ""
      ].join("\n")
    )
    const clang = run("clang", ["-target", "bpfel", "-c", source, "-o", object])
    assert.strictEqual(clang.status, 0, clang.stderr)
    return object
  }

  const compare = (given: Uint8Array, code: Uint8Array): void => {
    const stderr = load(objectOf(given), { type: "socket" })
    const { listed, walked } = parseLog(stderr)
    const ours = new Map(disassemble(code).map(({ slot, text }) => [slot, text]))
    assert.strictEqual(listed.size, ours.size, stderr.slice(-1000))
    for (const [slot, text] of ours) assert.strictEqual(text, listed.get(slot))
    for (const [slot, text] of walked) assert.strictEqual(ours.get(slot), text)
  }

  /**
   * A piece of a program that the verifier lists though it will refuse it: `head` and `tail` are instructions, the jump
   * between them, if any, is aimed at the start of a piece chosen by `aim`.
   */
  interface Piece {
    readonly head: Uint8Array
    readonly jump?: { readonly aim: number; readonly insn: (distance: number) => Uint8Array }
  }

  const register = fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
  const offset = fc.integer({ min: -32768, max: 32767 })
  const imm = fc.oneof(fc.integer({ min: -70, max: 256 }), fc.integer({ min: -0x80000000, max: 0x7fffffff }))
  const opcodes = (accept: (opcode: number) => boolean) =>
    fc.constantFrom(...Array.from({ length: 256 }, (_, opcode) => opcode).filter(accept).filter(isKnownOpcode))
  const isClass = (...classes: ReadonlyArray<number>) => (opcode: number) => classes.includes(opcode & 7)
  // Fields that an instruction does not use hold anything: the verifier prints first and refuses later. Loads are not
  // among them (it looks at their immediate first).
  const unruly: fc.Arbitrary<Uint8Array> = fc
    .tuple(
      opcodes(isClass(2, 3, 4, 7)),
      register,
      register,
      fc.oneof(offset, fc.constantFrom(0, 1, 8, 16, 24, 32, -1)),
      imm
    )
    .map(([opcode, dst, src, offset, imm]) => Encode.raw(opcode, dst, src, offset, imm))
  const comparison = fc
    .tuple(opcodes((op) => isClass(5, 6)(op) && ![0x00, 0x80, 0x90, 0xe0].includes(op & 0xf0)), register, register, imm)
    .map(([opcode, dst, src, imm]) => (distance: number) => Encode.raw(opcode, dst, src, distance, imm))
  const overOne = Encode.raw(0x55, 0, 0, 1, 0)
  const empty = new Uint8Array(0)
  const piece: fc.Arbitrary<Piece> = fc.oneof(
    { weight: 6, arbitrary: computing.map(({ code }) => ({ head: code })) },
    { weight: 6, arbitrary: unruly.map((head) => ({ head })) },
    {
      weight: 2,
      arbitrary: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map((value) => ({ head: Encode.ldImm64(3, value) }))
    },
    { weight: 2, arbitrary: imm.map((id) => ({ head: Encode.callHelper(id) })) },
    {
      weight: 3,
      arbitrary: fc.record({ head: fc.constant(empty), jump: fc.record({ aim: fc.nat(), insn: comparison }) })
    },
    {
      weight: 1,
      arbitrary: fc.record({
        // What comes after these is reached by a jump over them.
        head: fc.constant(overOne),
        jump: fc.record({
          aim: fc.nat(),
          insn: fc.constantFrom(Encode.ja, Encode.gotol, Encode.mayGoto, () => Encode.exit())
        })
      })
    }
  )
  const program: fc.Arbitrary<Uint8Array> = fc.array(piece, { minLength: 150, maxLength: 200 }).map((pieces) => {
    const starts: Array<number> = []
    let end = 0
    for (const { head, jump } of pieces) {
      starts.push(end)
      end += Insn.count(head) + (jump === undefined ? 0 : 1)
    }
    starts.push(end)
    const parts = pieces.map(({ head, jump }, index) => {
      if (jump === undefined) return head
      const next = starts[index + 1] ?? end
      return Encode.program(head, jump.insn((starts[jump.aim % starts.length] ?? 0) - next))
    })
    return Encode.program(...parts, Encode.mov64Imm(0, 0), Encode.exit())
  })

  it.skipIf(!modern)(`is our text${wants}`, () => {
    fc.assert(fc.property(program, (code) => compare(code, code)), { numRuns: runs(8), endOnFailure: true })
  })

  it.skipIf(!modern)(`is our text where the kernel speaks of a bug or of nothing${wants}`, () => {
    const code = Encode.program(
      Encode.raw(0xdb, 1, 2, 3, 0x33),
      Encode.raw(0xc3, 1, 2, -3, -1),
      Encode.callHelper(0),
      Encode.callHelper(211),
      Encode.callHelper(212),
      Encode.callHelper(-1),
      Encode.raw(0xe5, 1, 2, 0, 3),
      Encode.raw(0xbf, 1, 2, -1, 3),
      Encode.raw(0xbf, 1, 2, 1, -3),
      Encode.raw(0xbc, 1, 2, 32, 0),
      Encode.raw(0xb7, 1, 2, 8, 5),
      Encode.raw(0x3f, 1, 2, 2, 5),
      Encode.raw(0xd7, 1, 2, 2, 17),
      Encode.raw(0x84, 1, 2, 2, 17),
      Encode.exit()
    )
    compare(code, code)
    const texts = new Set(disassemble(code).map(({ text }) => text))
    assert.isTrue(texts.has("BUG_db"))
    assert.isTrue(texts.has("(e5) if r1 (null) 0x3 goto pc+0"))
  })

  it.skipIf(!modern)(`named fault: another immediate, another register, one instruction less${wants}`, () => {
    const insns = [Encode.mov64Imm(1, 5), Encode.mov64Imm(0, 0), Encode.exit()] as const
    const code = Encode.program(...insns)
    assert.throws(() => compare(code, Encode.program(Encode.mov64Imm(1, 6), insns[1], insns[2])))
    assert.throws(() => compare(code, Encode.program(Encode.mov64Imm(2, 5), insns[1], insns[2])))
    assert.throws(() => compare(code, Encode.program(insns[1], insns[2])))
  })
})

const programSource = `
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

struct value { __u64 packets; __u32 bytes; __s16 last; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16); __type(key, __u32); __type(value, struct value); }
  stats SEC(".maps");

const volatile __u32 limit = 64;
volatile __u64 total;
volatile __s32 seed = -3;
volatile __s8 small = -1;

extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

static __noinline __u32 mix(__u32 a, __u32 b)
{
  seed += a;
  return (a ^ b) * 0x9e3779b1u % 1000 + seed;
}

struct state { __u32 sum; };
static long step(__u32 index, struct state *state)
{
  state->sum += mix(index, limit);
  return state->sum > 4000;
}

__noinline int shared(struct __sk_buff *skb, int level)
{
  return level > 3 ? skb->len : skb->len + level;
}

SEC("tc")
int entry(struct __sk_buff *skb)
{
  __u32 key = bpf_ntohs(skb->protocol);
  struct state state = {};
  struct value *value = bpf_map_lookup_elem(&stats, &key);
  if (!value) {
    struct value fresh = { .packets = 1, .bytes = skb->len, .last = -2 };
    bpf_map_update_elem(&stats, &key, &fresh, BPF_ANY);
    return TC_ACT_OK;
  }
  __sync_fetch_and_add(&value->packets, 1);
  __sync_fetch_and_add(&total, 0x123456789abcdef0ull);
  value->bytes += skb->len / (limit | 1);
  value->last -= small;
  bpf_loop(8, step, &state, 0);
  bpf_rcu_read_lock();
  key = mix(state.sum, value->bytes);
  bpf_rcu_read_unlock();
  if ((__s32)key < seed) return TC_ACT_SHOT;
  bpf_printk("mixed %u", key);
  return shared(skb, value->last);
}

char _license[] SEC("license") = "GPL";
`

describeWith(
  {
    kind: "live",
    tools: ["bpftool", "clang", "strace"],
    files: ["/usr/include/bpf/bpf_helpers.h", "/sys/kernel/btf/vmlinux"]
  },
  "a program in C",
  () => {
    const compiled = (cpu: string): string => {
      const folder = temporaryFolder()
      const [source, object] = [Path.join(folder, `${cpu}.c`), Path.join(folder, `${cpu}.o`)]
      Fs.writeFileSync(source, programSource)
      const machine = { x64: "x86_64", arm64: "aarch64" }[process.arch as string] ?? process.arch
      const include = `-I/usr/include/${machine}-linux-gnu`
      const clang = run("clang", ["-target", "bpfel", `-mcpu=${cpu}`, "-O2", "-g", include, "-c", source, "-o", object])
      assert.strictEqual(clang.status, 0, clang.stderr)
      return object
    }

    /** The instructions that bpf(2) was given for the program of this name, as strace read them. */
    const given = (trace: string, name: string): Uint8Array => {
      const line = trace.split("\n").find((line) => line.includes(`prog_name="${name}"`)) ?? ""
      // strace adds a comment to opcodes that it does not know.
      const slot = /\{code=([0-9a-fx|]+)(?: \/\*.*?\*\/)?, dst_reg=(\w+), src_reg=(\w+), off=(-?\w+), imm=(-?\w+)\}/g
      const insns = [...line.matchAll(slot)].map(([, code = "", ...fields]) => {
        const opcode = code.split("|").reduce((all, part) => all | Number(part), 0)
        const [dst = 0, src = 0, off = 0, imm = 0] = fields.map(Number)
        return Encode.raw(opcode, dst, src, off, imm)
      })
      assert.strictEqual(insns.length, Number(/insn_cnt=(\w+)/.exec(line)?.[1]))
      return Encode.program(...insns)
    }

    let functionNames: ReadonlyMap<number, string> | undefined
    const kernelFunctions = (): ReadonlyMap<number, string> => {
      if (functionNames !== undefined) return functionNames
      const dump = run("bpftool", ["btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "raw"])
      const functions = dump.stdout.matchAll(/^\[(\d+)\] FUNC '(\w+)'/gm)
      functionNames = new Map([...functions].map(([, id, name = ""]) => [Number(id), name]))
      return functionNames
    }

    for (const cpu of ["v1", "v2", "v3", "v4"]) {
      it.skipIf(!modern)(`compiled for ${cpu} prints as in the verifier's log and as bpftool dumps it${wants}`, () => {
        const object = compiled(cpu)
        const trace = Path.join(Path.dirname(object), "trace")
        const dumps: Array<string> = []
        const stderr = load(object, {
          trace,
          whilePinned: (folder) => {
            const pin = Path.join(folder, "entry")
            dumps.push(run("bpftool", ["prog", "dump", "xlated", "pinned", pin, "opcodes"]).stdout)
          }
        })
        const code = given(Fs.readFileSync(trace, "utf8"), "entry")
        const log = stderr.slice(stderr.lastIndexOf("Live regs before insn:"))
        const functions = kernelFunctions()
        compareWithLog(code, parseLog(log), functions)
        assert.throws(() => compareWithLog(Encode.program(code.subarray(8), Encode.exit()), parseLog(log), functions))
        compareWithDump(dumps[0] ?? "")
      })
    }

    const address = /= 0x[0-9a-f]+$/

    const compareWithLog = (code: Uint8Array, log: VerifierLog, functions: ReadonlyMap<number, string>): void => {
      const kinds = { map: 0, func: 0, call: 0, kfunc: 0, helper: 0 }
      const ours = new Map(
        disassemble(code, {
          annotate: (slot) => (Insn.isKfuncCall(code, slot) ? functions.get(Insn.imm(code, slot)) : undefined)
        }).map(({ slot, text }) => [slot, text])
      )
      assert.strictEqual(log.listed.size, ours.size)
      for (const [slot, theirs] of [...log.listed, ...log.walked]) {
        const text = ours.get(slot) ?? ""
        // The verifier has put the map's address in the place of its descriptor.
        if (Insn.isMapReference(code, slot)) {
          assert.match(theirs, address)
          assert.strictEqual(text.replace(address, ""), theirs.replace(address, ""))
          kinds.map += 1
        } else {
          assert.strictEqual(text, theirs)
        }
        if (Insn.isFunctionReference(code, slot)) kinds.func += 1
        if (Insn.isSubprogramCall(code, slot)) kinds.call += 1
        if (Insn.isKfuncCall(code, slot)) kinds.kfunc += 1
        if (Insn.isHelperCall(code, slot)) kinds.helper += 1
      }
      for (const [kind, times] of Object.entries(kinds)) assert.isAtLeast(times, 2, kind)
    }

    /** bpftool's text beside the bytes that it shows, for the forms that every bpftool knows. */
    const compareWithDump = (dump: string): void => {
      const lines = [...dump.matchAll(/^ *(\d+): (\(..\) .*|BUG_.*)\n +((?:[0-9a-f]{2} ?)+)$/gm)]
      assert.isAtLeast(lines.length, 90)
      const kinds = new Set<string>()
      let newer = 0
      for (const [, , theirs = "", hex = ""] of lines) {
        const code = Uint8Array.from(hex.trim().split(" "), (byte) => parseInt(byte, 16))
        // Names come from the kernel's symbols; the form around them is ours.
        const name = /^\(85\) call (?:pc[+-]\d+#(.+)|(.+)#-?\d+)$/.exec(theirs)
        const [ours] = disassemble(code, { style: "xlated", annotate: () => name?.[1] ?? name?.[2] })
        // Instructions of version 4 are newer than bpftool's printer may be.
        const offset = Insn.offset(code, 0)
        if (theirs.startsWith("BUG_") || (Insn.isAlu(code, 0) && (offset !== 0 || Insn.opcode(code, 0) === 0xd7))) {
          newer += 1
          continue
        }
        assert.strictEqual(ours?.text, theirs)
        if (Insn.isLdImm64(code, 0)) kinds.add(`load ${Insn.src(code, 0)}`)
        if (Insn.isCall(code, 0)) kinds.add(`call ${Insn.src(code, 0)}`)
      }
      assert.isAtMost(newer, 20)
      for (const kind of ["load 1", "load 2", "call 0", "call 1"]) assert.isTrue(kinds.has(kind), kind)
    }
  }
)

describe("the log's reader", () => {
  it("tells instructions from states and source lines", () => {
    const { listed, walked } = parseLog(
      [
        "      0: .1........ (bf) r6 = r1",
        "0: R1=ctx() R10=fp0",
        "; int f() @ a.c:1",
        "0: (bf) r6 = r1                       ; R1=ctx() R6=ctx()",
        "12: BUG_db",
        "libbpf: 1: (95) exit"
      ].join("\n")
    )
    assert.deepEqual([...listed], [[0, "(bf) r6 = r1"]])
    assert.deepEqual(walked, [[0, "(bf) r6 = r1"], [12, "BUG_db"]])
  })
})
