/** What the live kernel tells about itself, against what other tools on the machine say. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Zlib from "node:zlib"
import * as Btf from "../../src/btf/Btf.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import type { Fact, Requirement } from "../../src/services/Kernel/KernelInfo.ts"
import * as KernelInfo from "../../src/services/Kernel/KernelInfo.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Facts from "../../src/services/Kernel/live/Facts.ts"
import * as Sys from "../../src/services/Kernel/sys/Sys.ts"
import * as Rights from "../support/Rights.ts"
import { describeWith, run } from "../support/Require.ts"

const valueOf = <A>(fact: Fact<A> | undefined): A | undefined => fact?._tag === "Known" ? fact.value : undefined

const ask = (...requirements: ReadonlyArray<Requirement>) =>
  Effect.flatMap(KernelLive.make, (kernel) => kernel.ask(requirements))

describeWith({ kind: "live" }, "facts of the live kernel", () => {
  it.effect("are those of this machine", () =>
    Effect.gen(function*() {
      const kernel = yield* Kernel
      assert.strictEqual(kernel.name, "live")
      const info = yield* kernel.info
      assert.strictEqual(info.release, Os.release())
      assert.strictEqual(info.architecture, process.arch)
      assert.strictEqual(info.byteOrder, Os.endianness() === "LE" ? "little" : "big")
      assert.strictEqual(info.pageSize._tag, "Unasked")
    }).pipe(Effect.provide(KernelLive.layer)))

  it.effect("answer every requirement as known, once added to what was known before", () =>
    Effect.gen(function*() {
      const requirements: ReadonlyArray<Requirement> = [
        { _tag: "PageSize" },
        { _tag: "PossibleCpus" },
        { _tag: "KernelVersion" },
        { _tag: "Kconfig", key: "CONFIG_BPF" },
        { _tag: "Kconfig", key: "CONFIG_NO_SUCH_OPTION" },
        { _tag: "Feature", feature: "BpfCookie" },
        { _tag: "Feature", feature: "SyscallWrapper" },
        { _tag: "Symbol", name: "bpf_prog_put" },
        { _tag: "Symbol", name: "no_such_symbol" },
        { _tag: "VmlinuxTypes" }
      ]
      const kernel = yield* KernelLive.make
      const info = KernelInfo.add(yield* kernel.info, yield* kernel.ask(requirements))
      for (const requirement of requirements) {
        assert.strictEqual(KernelInfo.factOf(info, requirement)._tag, "Known", KernelInfo.describe(requirement))
      }
    }))

  it.effect("agree with getconf, sysfs and uname", () =>
    Effect.gen(function*() {
      const answers = yield* ask({ _tag: "PageSize" }, { _tag: "PossibleCpus" }, { _tag: "KernelVersion" })
      assert.strictEqual(valueOf(answers.pageSize), Number(run("getconf", ["PAGESIZE"]).stdout))
      assert.strictEqual(
        valueOf(answers.possibleCpus),
        Fs.readdirSync("/sys/devices/system/cpu").filter((name) => /^cpu\d+$/.test(name)).length
      )
      const [major, minor] = Os.release().split(".").map(Number)
      assert.strictEqual((valueOf(answers.kernelVersion) ?? 0) >> 8, ((major ?? 0) << 8) + (minor ?? 0))
    }))

  it.effect("agree with the kernel's symbol table", () =>
    Effect.gen(function*() {
      const names = ["bpf_prog_put", "_stext", "no_such_symbol"]
      const { symbols } = yield* ask(...names.map((name) => ({ _tag: "Symbol", name }) as const))
      const table = Fs.readFileSync("/proc/kallsyms", "utf8")
      for (const name of names) {
        const line = new RegExp(`^([0-9a-f]+) \\S ${name}$`, "m").exec(table)
        assert.strictEqual(valueOf(symbols?.get(name)), line === null ? undefined : BigInt(`0x${line[1]}`), name)
      }
    }))

  it.effect("have the types of vmlinux, parsed once for a layer", () =>
    Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      const first = valueOf((yield* kernel.ask([{ _tag: "VmlinuxTypes" }])).vmlinuxTypes)
      const second = valueOf((yield* kernel.ask([{ _tag: "VmlinuxTypes" }])).vmlinuxTypes)
      assert.isDefined(first)
      assert.strictEqual(first, second)
      if (first === undefined) return
      assert.isDefined(Btf.findOne(first, "task_struct", Btf.BTF_KIND_STRUCT))
      assert.notStrictEqual(first, valueOf((yield* ask({ _tag: "VmlinuxTypes" })).vmlinuxTypes), "nothing is global")
    }))

  it.effect("are had by descriptors: with no file to be read, types are the ones that the kernel shows", () =>
    Effect.gen(function*() {
      const read: Array<string> = []
      const facts = Facts.fromSources({
        sys: Sys.make,
        release: Os.release(),
        version: Os.version(),
        files: {
          read: (path) => {
            read.push(path)
            return Result.fail(2)
          },
          list: () => Result.fail(2)
        }
      })
      // Without the rights to open objects by their identifiers there are only files.
      if (!Rights.identifiers()) return assert.isTrue(Result.isFailure(facts.vmlinux()))
      const types = yield* Effect.fromResult(facts.vmlinux())
      assert.isTrue(Buffer.compare(types.bytes, Fs.readFileSync("/sys/kernel/btf/vmlinux")) === 0)
      assert.deepStrictEqual(read, [])
    }))

  it.effect("know that bpf(2) works here", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* KernelLive.availability, { available: true })
    }))
})

describeWith({ kind: "live", files: ["/proc/config.gz"] }, "the configuration of the live kernel", () => {
  it.effect("has the text of each option", () =>
    Effect.gen(function*() {
      const text = Zlib.gunzipSync(Fs.readFileSync("/proc/config.gz")).toString()
      const options = [...text.matchAll(/^(CONFIG_\w+)=(.*)$/gm)].map((match) =>
        [match[1] ?? "", match[2] ?? ""] as const
      )
      assert.isAbove(options.length, 100)
      const { kconfig } = yield* ask(
        ...options.map(([key]) => ({ _tag: "Kconfig", key }) as const),
        { _tag: "Kconfig", key: "CONFIG_OFF" }
      )
      for (const [key, value] of options) assert.strictEqual(valueOf(kconfig?.get(key)), value, key)
      assert.deepStrictEqual(kconfig?.get("CONFIG_OFF"), { _tag: "Known", value: undefined })
    }))
})
