/** Kernel profiles: what each fact answers, what damaged profiles are refused for, and loads on the kernel of a profile. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Btf from "../../../../src/btf/Btf.ts"
import * as BtfEdit from "../../../../src/btf/BtfEdit.ts"
import * as Encode from "../../../../src/insn/Encode.ts"
import { Kernel } from "../../../../src/services/Kernel/Kernel.ts"
import type { ProgLoad } from "../../../../src/services/Kernel/KernelCall.ts"
import * as Feature from "../../../../src/services/Kernel/Feature.ts"
import * as KernelInfo from "../../../../src/services/Kernel/KernelInfo.ts"
import * as KernelProfile from "../../../../src/services/Kernel/KernelProfile.ts"
import * as KernelProfiled from "../../../../src/services/Kernel/KernelProfiled.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import { Simulation } from "../../../../src/services/Kernel/KernelSimulated.ts"
import { execute } from "../../../../src/stages/load/Execute.ts"
import { plan } from "../../../../src/stages/load/Plan.ts"
import * as Open from "../../../../src/stages/open/Open.ts"
import { relocate, relocateWith, toObject } from "../../../../src/stages/relocate/Relocate.ts"
import * as Stage from "../../../../src/stages/Stage.ts"
import { fixture } from "../../../support/Require.ts"

const succeed = <A, E>(result: Result.Result<A, E>): A => {
  if (Result.isFailure(result)) throw new Error(String(result.failure))
  return result.success
}

/** Types with functions of these names, and a `task_struct`. */
const typesWith = (functions: ReadonlyArray<string>, options: BtfEdit.MakeOptions = {}): Btf.Btf => {
  const editor = BtfEdit.make(options)
  const int = editor.addInt("int", 4, Btf.BTF_INT_SIGNED)
  editor.addStruct("task_struct", 8, [{ name: "pid", type: int, bitOffset: 32, bitfieldSize: 0 }])
  const proto = editor.addFuncProto(0, [])
  for (const name of functions) editor.addFunc(name, proto, Btf.BTF_FUNC_GLOBAL)
  return succeed(editor.finish())
}

const vmlinux = typesWith(["bpf_get_attach_cookie_trace", "__x64_sys_bpf"])

const module = typesWith(["of_module"], { base: vmlinux })

const whole: KernelProfile.KernelProfile = {
  release: "6.1.0-47-cloud-amd64",
  architecture: "x64",
  byteOrder: "little",
  pageSize: 16384,
  possibleCpus: 6,
  kernelVersion: 0x06019e,
  features: { BpfCookie: false },
  configuration: "CONFIG_HZ=250\n# CONFIG_OFF is not set\nCONFIG_NAME=\"é\"\n",
  vmlinux,
  modules: [
    { name: "good", types: () => Result.succeed(module) },
    { name: "left_out", types: () => Result.fail("left out") }
  ],
  symbols: new Map([["jiffies", "one"], ["local", "several"]]),
  missing: {}
}

/** The profile with what its release says of features: plans ask for some. */
const plannable: KernelProfile.KernelProfile = {
  ...whole,
  features: { ...Feature.ofRelease(whole.release), ...whole.features }
}

const ask = (profile: KernelProfile.KernelProfile, ...requirements: ReadonlyArray<KernelInfo.Requirement>) =>
  KernelProfile.answers(profile)(requirements)

const factOf = (profile: KernelProfile.KernelProfile, requirement: KernelInfo.Requirement): unknown =>
  KernelInfo.factOf(KernelInfo.add(KernelProfile.toInfo(profile), succeed(ask(profile, requirement))), requirement)

const hintOf = (profile: KernelProfile.KernelProfile, requirement: KernelInfo.Requirement): string => {
  const answered = ask(profile, requirement)
  if (Result.isSuccess(answered)) throw new Error("answered")
  assert.strictEqual(answered.failure.errno, "ENODATA")
  return answered.failure.hint ?? ""
}

describe("a profile", () => {
  const known = KernelInfo.known

  it("answers each fact", () => {
    assert.deepStrictEqual(factOf(whole, { _tag: "PageSize" }), known(16384))
    assert.deepStrictEqual(factOf(whole, { _tag: "PossibleCpus" }), known(6))
    assert.deepStrictEqual(factOf(whole, { _tag: "KernelVersion" }), known(0x06019e))
    assert.deepStrictEqual(factOf(whole, { _tag: "Kconfig", key: "CONFIG_HZ" }), known("250"))
    assert.deepStrictEqual(factOf(whole, { _tag: "Kconfig", key: "CONFIG_NAME" }), known("\"é\""))
    assert.deepStrictEqual(factOf(whole, { _tag: "Kconfig", key: "CONFIG_OFF" }), known(undefined))
    assert.deepStrictEqual(factOf(whole, { _tag: "VmlinuxTypes" }), known(vmlinux))
    assert.deepStrictEqual(
      factOf(whole, { _tag: "ModuleTypes" }),
      known([{ name: "good", btf: module }, { name: "left_out", btf: undefined, problem: "left out" }])
    )
    // What trying has shown counts before what the types tell.
    assert.isFalse(KernelProfile.hasFeature(whole, "BpfCookie"))
    assert.isTrue(KernelProfile.hasFeature(whole, "SyscallWrapper"))
    assert.propertyVal(factOf(whole, { _tag: "Feature", feature: "BpfCookie" }), "_tag", "Known")
  })

  it("answers symbols by their names: where they are is not known", () => {
    assert.deepStrictEqual(factOf(whole, { _tag: "Symbol", name: "jiffies" }), known(0n))
    assert.deepStrictEqual(factOf(whole, { _tag: "Symbol", name: "local" }), known("ambiguous"))
    assert.deepStrictEqual(factOf(whole, { _tag: "Symbol", name: "constructor" }), known(undefined))
    const nameless = { ...whole, symbols: undefined }
    assert.deepStrictEqual(factOf(nameless, { _tag: "Symbol", name: "jiffies" }), KernelInfo.deferred)
  })

  it("does not make up what it does not know", () => {
    const types = KernelProfile.fromTypesAlone(typesWith([]))
    for (
      const requirement of [
        { _tag: "PageSize" },
        { _tag: "PossibleCpus" },
        { _tag: "KernelVersion" },
        { _tag: "Kconfig", key: "CONFIG_HZ" },
        { _tag: "ModuleTypes" }
      ] as const
    ) assert.include(hintOf(types, requirement), "BTF file", requirement._tag)
    assert.include(hintOf(types, { _tag: "Feature", feature: "BpfCookie" }), "types do not tell")
    assert.strictEqual(factOf(types, { _tag: "VmlinuxTypes" }) !== undefined, true)
    const typeless = { ...whole, vmlinux: undefined, missing: { btf: "EACCES" } }
    assert.strictEqual(hintOf(typeless, { _tag: "VmlinuxTypes" }), "EACCES")
    assert.strictEqual(
      hintOf({ ...whole, pageSize: undefined }, { _tag: "PageSize" }),
      "the profile does not have it"
    )
  })

  it("fails with the first of several questions that it cannot answer, and tells nothing of the others", () => {
    const answered = ask({ ...whole, pageSize: undefined }, { _tag: "PossibleCpus" }, { _tag: "PageSize" })
    assert.isTrue(Result.isFailure(answered) && answered.failure.call === "PageSize")
  })

  it("is what pure stages need", () => {
    const info = KernelProfile.toInfo(whole)
    assert.deepInclude(info, { release: whole.release, architecture: "x64", byteOrder: "little" })
    assert.deepStrictEqual(info.pageSize, known(16384))
    assert.strictEqual(info.features.get("SyscallWrapper")?._tag, "Known")
    assert.strictEqual(info.moduleTypes._tag, "Unasked", "nobody has read them")
    const object = succeed(Open.fromBytes(fixture("core_matches.bpf.o"), { path: "core_matches.bpf.o" }))
    const asked = succeed(toObject(object, info))
    assert.deepStrictEqual(asked, { _tag: "Needs", requirements: [{ _tag: "ModuleTypes" }] })
    const answers = succeed(ask(whole, { _tag: "ModuleTypes" }))
    assert.strictEqual(succeed(toObject(object, KernelInfo.add(info, answers)))._tag, "Done")
  })
})

describe("features that types tell of", () => {
  const featureOf = (types: Btf.Btf, feature: KernelInfo.Feature) =>
    KernelProfile.hasFeature(KernelProfile.fromTypesAlone(types), feature)

  it("are there where their functions are", () => {
    assert.strictEqual(featureOf(vmlinux, "BpfCookie"), true)
    assert.strictEqual(featureOf(vmlinux, "SyscallWrapper"), true)
    assert.strictEqual(featureOf(typesWith(["__arm64_sys_bpf"]), "SyscallWrapper"), true)
  })

  it("are not there where what stands for their absence is", () => {
    const editor = BtfEdit.make()
    editor.addEnum("bpf_func_id", 4, [{ name: "BPF_FUNC_unspec", value: 0 }])
    const proto = editor.addFuncProto(0, [])
    editor.addFunc("__se_sys_bpf", proto, Btf.BTF_FUNC_STATIC)
    const old = succeed(editor.finish())
    assert.strictEqual(featureOf(old, "BpfCookie"), false)
    assert.strictEqual(featureOf(old, "SyscallWrapper"), false)
  })

  it("are not known from types that were cut down", () => {
    assert.isUndefined(featureOf(typesWith([]), "BpfCookie"))
    assert.isUndefined(featureOf(typesWith([]), "SyscallWrapper"))
    const editor = BtfEdit.make()
    editor.addEnum("bpf_func_id", 4, [{ name: "BPF_FUNC_get_attach_cookie", value: 174 }])
    assert.isUndefined(featureOf(succeed(editor.finish()), "BpfCookie"), "a header may be newer than the kernel")
  })
})

describe("the files of a profile", () => {
  const files = () => new Map(KernelProfile.encode(whole))

  const read = (change: (files: Map<string, Uint8Array>) => void) => {
    const changed = files()
    change(changed)
    return KernelProfile.decode(KernelProfile.inMemory(changed))
  }

  const errorOf = (change: (files: Map<string, Uint8Array>) => void): KernelProfile.ProfileError => {
    const result = read(change)
    if (Result.isSuccess(result)) throw new Error("read")
    return result.failure
  }

  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

  const describedBy = (change: Record<string, unknown>) => (files: Map<string, Uint8Array>): void => {
    const description: object = JSON.parse(new TextDecoder().decode(files.get("profile.json")))
    files.set("profile.json", bytes(JSON.stringify({ ...description, ...change })))
  }

  it("have names and forms that people can write", () => {
    assert.deepStrictEqual([...files().keys()].sort(), [
      "btf/good",
      "btf/vmlinux",
      "config",
      "profile.json",
      "symbols"
    ])
    assert.deepStrictEqual(JSON.parse(new TextDecoder().decode(files().get("profile.json"))), {
      format_version: 1,
      release: "6.1.0-47-cloud-amd64",
      architecture: "x64",
      byte_order: "little",
      page_size: 16384,
      possible_cpus: 6,
      kernel_version: "6.1.158",
      features: { BpfCookie: false },
      modules: [{ name: "good" }, { name: "left_out", problem: "left out" }],
      missing: {}
    })
    assert.strictEqual(new TextDecoder().decode(files().get("symbols")), "jiffies\nlocal\nlocal\n")
    assert.deepStrictEqual(files().get("btf/vmlinux"), vmlinux.bytes)
    const least = read((files) => {
      files.clear()
      files.set(
        "profile.json",
        bytes("{\"format_version\":1,\"release\":\"6.9\",\"architecture\":\"\",\"byte_order\":\"big\"}")
      )
    })
    assert.deepInclude(succeed(least), { release: "6.9", byteOrder: "big", vmlinux: undefined, modules: undefined })
  })

  const wrong: ReadonlyArray<readonly [string, (files: Map<string, Uint8Array>) => void, string, RegExp]> = [
    [
      "no description",
      (files) => void files.delete("profile.json"),
      "NoProfile",
      /no kernel profile\nhint: .*snapshot/
    ],
    ["no JSON", (files) => void files.set("profile.json", bytes("{")), "Description", /no JSON/],
    ["another document", (files) => void files.set("profile.json", bytes("[1]")), "Description", /object/],
    ["a later version", describedBy({ format_version: 2 }), "Version", /newer effect-bpf/],
    ["an earlier version", describedBy({ format_version: 0 }), "Description", /format_version/],
    ["a page size that is none", describedBy({ page_size: 5000 }), "Description", /power of two[^]*page_size/],
    ["no CPUs", describedBy({ possible_cpus: 0 }), "Description", /possible_cpus/],
    ["a version that is none", describedBy({ kernel_version: "6.1" }), "Description", /kernel_version/],
    ["a version out of range", describedBy({ kernel_version: "6.300.1" }), "Description", /kernel_version/],
    ["a byte order that is none", describedBy({ byte_order: "middle" }), "Description", /byte_order/],
    ["a feature that is no answer", describedBy({ features: { BpfCookie: "yes" } }), "Description", /BpfCookie/],
    [
      "a module that leads elsewhere",
      describedBy({ modules: [{ name: "../../etc" }] }),
      "Description",
      /name of a module/
    ],
    ["a module called vmlinux", describedBy({ modules: [{ name: "vmlinux" }] }), "Description", /name of a module/],
    ["a module twice", describedBy({ modules: [{ name: "a" }, { name: "a" }] }), "Description", /twice/],
    [
      "too many modules",
      describedBy({ modules: Array.from({ length: 16385 }, (_, i) => ({ name: `m${i}` })) }),
      "Description",
      /modules/
    ],
    ["a release without end", describedBy({ release: "x".repeat(300) }), "Description", /release/],
    ["types that are none", (files) => void files.set("btf/vmlinux", bytes("no types")), "Types", /btf\/vmlinux/],
    [
      "types of the other byte order",
      describedBy({ byte_order: "big" }),
      "Types",
      /little-endian, and profile\.json says big/
    ],
    [
      "a description without end",
      (files) => void files.set("profile.json", new Uint8Array(17 << 20)),
      "TooLarge",
      /bytes/
    ],
    [
      "a configuration without end",
      (files) => void files.set("config", new Uint8Array(65 << 20)),
      "TooLarge",
      /config: it has \d+ bytes/
    ]
  ]

  for (const [what, change, reason, message] of wrong) {
    it(`are refused with ${what}`, () => {
      const error = errorOf(change)
      assert.strictEqual(error.reason, reason)
      assert.match(error.message, message)
      assert.isBelow(error.message.length, 1000)
    })
  }

  it("of modules are read when they are asked for, once, and a broken one is its module's problem", () => {
    const reads: Array<string> = []
    const all = files()
    describedBy({
      modules: [{ name: "good" }, { name: "absent" }, { name: "broken" }, { name: "told", problem: "why" }]
    })(all)
    all.set("btf/broken", bytes("no types"))
    const profile = succeed(KernelProfile.decode((name, limit) => {
      reads.push(name)
      return KernelProfile.inMemory(all)(name, limit)
    }))
    assert.deepStrictEqual(reads, ["profile.json", "btf/vmlinux", "config", "symbols"])
    for (let times = 0; times < 2; times++) {
      const found = KernelProfile.moduleTypes(profile)?.map(({ btf, name, problem }) => [name, btf?.base, problem])
      assert.deepStrictEqual(found?.[0], ["good", profile.vmlinux, undefined])
      assert.deepStrictEqual(found?.[1], ["absent", undefined, "the profile has no file btf/absent"])
      assert.match(KernelProfile.moduleTypes(profile)?.[2]?.problem ?? "", /^btf\/broken: /)
      assert.deepStrictEqual(found?.[3], ["told", undefined, "why"])
    }
    assert.deepStrictEqual(reads.slice(4), ["btf/good", "btf/absent", "btf/broken"])
    const baseless = succeed(read((files) => void files.delete("btf/vmlinux")))
    assert.match(KernelProfile.moduleTypes(baseless)?.[0]?.problem ?? "", /no types of vmlinux/)
  })

  it("leave out features of later versions, and what is in nobody's language", () => {
    const profile = succeed(read(describedBy({ features: { BpfCookie: true, Telepathy: true }, surplus: 1 })))
    assert.deepStrictEqual(profile.features, { BpfCookie: true })
  })
})

describe("the kernel of a profile", () => {
  const load = Stage.pipeline(Open.open(), relocate, plan, execute())

  it.effect("takes loads, and runs them by its types, options and symbols", () =>
    Effect.gen(function*() {
      const kernel = yield* Kernel
      assert.strictEqual(kernel.name, "profiled")
      assert.deepInclude(yield* kernel.info, { release: whole.release, architecture: "x64", byteOrder: "little" })
      const loaded = yield* load.run(fixture("test_run.bpf.o"))
      const prog = loaded.program("add_in_context")
      if (prog === undefined) return assert.fail("not loaded")
      const context = new Uint8Array(BigUint64Array.of(40n, 2n, 0n).buffer)
      const { retval } = yield* loaded.session.call({
        _tag: "ProgTestRun",
        prog,
        contextIn: context,
        dataOutSize: 0,
        contextOutSize: 0,
        repeat: 0,
        flags: 0,
        cpu: 0,
        batchSize: 0
      })
      assert.strictEqual(retval, 1)
      assert.deepStrictEqual(yield* (yield* Simulation).printk, [])
    }).pipe(Effect.scoped, Effect.provide(KernelProfiled.layer(plannable))))

  it.effect("refuses what its kernel lacks, by name", () =>
    Effect.gen(function*() {
      const externs = yield* Effect.flip(load.run(fixture("externs.bpf.o")))
      assert.match(externs.message, /^CONFIG_\w+: the kernel does not set this option/)
      const ksyms = yield* Effect.flip(load.run(fixture("ksyms.bpf.o")))
      assert.match(ksyms.message, /the kernel has no \w+ of this name[^]*left_out \(left out\)|no symbol of this name/)
    }).pipe(Effect.scoped, Effect.provide(KernelProfiled.layer(whole))))

  it.effect("takes options of the user's before those that it does not have", () =>
    Effect.gen(function*() {
      const kconfig = [
        "CONFIG_BPF_SYSCALL=y\nCONFIG_HZ=1000\nCONFIG_BPF_JIT=y\nCONFIG_NET=y\nCONFIG_CC_VERSION_TEXT=\"cc\"",
        "CONFIG_DEFAULT_HOSTNAME=\"(none)\"\n"
      ].join("\n")
      const withOptions = Stage.pipeline(Open.open(), relocateWith({ kconfig }), plan, execute())
      const failure = yield* Effect.result(withOptions.run(fixture("externs.bpf.o")))
      assert.isTrue(
        Result.isSuccess(failure) ||
          !/CONFIG_(BPF_SYSCALL|HZ|BPF_JIT|NET|CC_VERSION_TEXT)\b/.test(failure.failure.message)
      )
    }).pipe(Effect.scoped, Effect.provide(KernelProfiled.layer(whole))))

  it.effect("binds functions of its modules, and not those of modules whose types it lacks", () =>
    Effect.gen(function*() {
      const call = (name: string, module?: string): ProgLoad => ({
        _tag: "ProgLoad",
        as: Ref.prog(0),
        attr: {
          name: "p",
          type: 1,
          expectedAttachType: 0,
          license: "GPL",
          kernelVersion: 0,
          flags: 0,
          ifindex: 0
        },
        code: {
          insns: Encode.program(Encode.callHelper(1), Encode.mov64Imm(0, 0), Encode.exit()),
          refs: [{
            _tag: "SymbolRef",
            at: 0,
            symbol: { name, kind: "Func", weak: false, ...(module === undefined ? {} : { module }) }
          }]
        },
        log: { level: 1 }
      })
      const load = (call: ProgLoad) =>
        Effect.scoped(Effect.gen(function*() {
          const session = yield* (yield* Kernel).session()
          return yield* Effect.result(session.call(call))
        }))
      for (const module of [undefined, "good"]) {
        const loaded = yield* load(call("of_module", module))
        assert.match(Result.isSuccess(loaded) ? loaded.success.log : "", /^of_module is not simulated/)
      }
      for (const [name, module] of [["of_module", "left_out"], ["of_module", "vmlinux"], ["nowhere", undefined]]) {
        const refused = yield* load(call(name ?? "", module))
        assert.isTrue(Result.isFailure(refused) && /ESRCH/.test(refused.failure.message), `${name} of ${module}`)
      }
    }).pipe(Effect.provide(KernelProfiled.layer(whole))))

  it.effect("is planned for, and cannot be run, where it is of another byte order", () =>
    Effect.gen(function*() {
      const types = typesWith([], { byteOrder: "big" })
      const profile = { ...plannable, architecture: "s390x", byteOrder: "big", vmlinux: types, modules: [] } as const
      const { kernel, simulation } = yield* KernelProfiled.make(profile)
      const opened = yield* Open.open().run(fixture("xdp_firewall.eb.o"))
      const planned = yield* Stage.pipeline(relocate, plan).run(opened).pipe(Effect.provideService(Kernel, kernel))
      assert.isAbove(planned.plan.length, 5)
      const refused = yield* Effect.flip(Effect.scoped(kernel.session()))
      assert.match(refused.message, /EINVAL[^]*big-endian/)
      assert.deepStrictEqual(yield* simulation.printk, [])
      assert.isUndefined(yield* simulation.coverage)
    }))

  it.effect("is made when it is first loaded into, and is one for all that follows", () =>
    Effect.gen(function*() {
      let read = 0
      const modules = [{
        name: "counted",
        types: () => {
          read++
          return Result.succeed(module)
        }
      }]
      const { kernel } = yield* KernelProfiled.make({ ...plannable, modules })
      yield* Effect.scoped(load.run(fixture("xdp_firewall.bpf.o"))).pipe(Effect.provideService(Kernel, kernel))
      assert.strictEqual(read, 0, "an object without kernel types reads no module")
      yield* Effect.scoped(kernel.session())
      assert.strictEqual(read, 0)
    }))
})
