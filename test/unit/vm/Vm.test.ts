import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Encode from "../../../src/insn/Encode.ts"
import * as C from "../../../src/insn/InsnConstants.ts"
import * as Vm from "../../../src/vm/Vm.ts"

const DW = C.BPF_DW

const decoded = (insns: ReadonlyArray<Uint8Array>, options: Vm.DecodeOptions = {}): Vm.Program =>
  Result.getOrThrow(Vm.decode(Encode.program(...insns), options))

const machineWith = (host: Vm.Host = Vm.noHost, options: Vm.MachineOptions = {}): Vm.Machine => {
  const machine = Vm.make({ host, ...options })
  assert.isDefined(machine)
  return machine
}

/** A host of helpers by id. */
const hostOf = (helpers: Readonly<Record<number, Vm.Helper>>): Vm.Host => ({
  ...Vm.noHost,
  helpers: Array.from({ length: 250 }, (_, id) => helpers[id])
})

/** Decodes, starts and completes a program. */
const runs = (insns: ReadonlyArray<Uint8Array>, args: ReadonlyArray<bigint> = [], host: Vm.Host = Vm.noHost) => {
  const machine = machineWith(host)
  Vm.start(machine, decoded(insns), args)
  return { machine, result: Vm.complete(machine, 1_000_000) }
}

/** What went wrong. */
const faultOf = (insns: ReadonlyArray<Uint8Array>, args: ReadonlyArray<bigint> = [], host: Vm.Host = Vm.noHost) => {
  const { result } = runs(insns, args, host)
  return Result.isFailure(result) ? result.failure : assert.fail(`it returns ${result.success}`)
}

const sum = [
  Encode.mov64Imm(0, 0),
  Encode.alu64Reg(C.BPF_ADD, 0, 1),
  Encode.alu64Imm(C.BPF_SUB, 1, 1),
  Encode.jmpImm(C.BPF_JNE, 1, 0, -3),
  Encode.exit()
]

describe("Vm", () => {
  it("runs a loop to its end and counts its instructions", () => {
    const { machine, result } = runs(sum, [10n])
    assert.deepStrictEqual(result, Result.succeed(55n))
    assert.strictEqual(machine.executed, 1 + 10 * 3 + 1)
  })

  it("stops at the end of its budget, exactly, and goes on with another", () => {
    const machine = machineWith()
    Vm.start(machine, decoded(sum), [10n])
    assert.deepStrictEqual(Vm.run(machine, 7), { _tag: "OutOfBudget" })
    assert.strictEqual(machine.executed, 7)
    assert.deepStrictEqual(Vm.run(machine, 0), { _tag: "OutOfBudget" })
    assert.deepStrictEqual(Vm.run(machine, 24), { _tag: "OutOfBudget" })
    assert.deepStrictEqual(Vm.run(machine, 1), { _tag: "Done", r0: 55n })
    assert.strictEqual(machine.executed, 32)
    assert.deepStrictEqual(Vm.run(machine, 100), { _tag: "Done", r0: 55n })
    assert.strictEqual(machine.executed, 32)
  })

  it("takes budgets that are no numbers as none, and endless ones as very large", () => {
    const machine = machineWith()
    Vm.start(machine, decoded(sum), [10n])
    for (const budget of [Number.NaN, -1, 0.5, -Infinity]) {
      assert.deepStrictEqual(Vm.run(machine, budget), { _tag: "OutOfBudget" })
      assert.strictEqual(machine.executed, 0)
    }
    assert.deepStrictEqual(Vm.run(machine, Infinity), { _tag: "Done", r0: 55n })
    assert.strictEqual(machine.executed, 32)
  })

  it("says of a budget that is spent where the program was", () => {
    const machine = machineWith()
    Vm.start(
      machine,
      decoded([Encode.mov64Imm(0, 0), Encode.ja(-1)], { name: "forever", lineAt: (slot) => `f.c:${slot}` })
    )
    const result = Vm.complete(machine, 1000)
    assert.isTrue(Result.isFailure(result))
    if (Result.isFailure(result)) {
      assert.strictEqual(
        result.failure.message,
        "program forever, instruction 1, f.c:1: the instruction budget is spent"
      )
    }
  })

  it("starts again with clean registers and stack", () => {
    const machine = machineWith()
    const program = decoded([
      Encode.ldx(DW, 0, 10, -8),
      Encode.alu64Reg(C.BPF_ADD, 0, 9),
      Encode.mov64Imm(9, 5),
      Encode.stx(DW, 10, 9, -8),
      Encode.exit()
    ])
    for (let round = 0; round < 3; round++) {
      Vm.start(machine, program)
      assert.deepStrictEqual(Vm.complete(machine, 100), Result.succeed(0n))
    }
  })

  it("counts may_goto per frame, and leaves when it is spent", () => {
    const machine = machineWith()
    Vm.start(
      machine,
      decoded([
        Encode.mov64Imm(0, 0),
        Encode.mayGoto(2),
        Encode.alu64Imm(C.BPF_ADD, 0, 1),
        Encode.ja(-3),
        Encode.exit()
      ])
    )
    assert.deepStrictEqual(Vm.complete(machine, 1e9), Result.succeed(BigInt(Vm.MAX_LOOPS)))
  })

  describe("faults", () => {
    it("name the access, the region, the instruction and the line", () => {
      const program = decoded([Encode.mov64Reg(2, 10), Encode.ldx(C.BPF_W, 0, 2, 4), Encode.exit()], {
        name: "p",
        lineAt: () => "p.bpf.c:12"
      })
      const machine = machineWith()
      Vm.start(machine, program)
      const outcome = Vm.run(machine, 10)
      assert.strictEqual(outcome._tag, "Fault")
      if (outcome._tag !== "Fault") return
      const { access, line, offset, program: name, reason, region, size, slot } = outcome.error
      assert.deepStrictEqual(
        { access, line, name, offset, reason, region, size, slot },
        {
          access: "read",
          line: "p.bpf.c:12",
          name: "p",
          offset: 516,
          reason: "OutOfBounds",
          region: "stack of frame 0",
          size: 4,
          slot: 1
        }
      )
      assert.match(
        outcome.error.message,
        /^program p, instruction 1, p\.bpf\.c:12: a read of 4 bytes at 0x[0-9a-f]+ lies outside stack of frame 0 at offset 516 \(it has 512 bytes\)$/
      )
      assert.deepStrictEqual(Vm.run(machine, 10), outcome)
    })

    it("of null pointers, numbers and places below a region say so", () => {
      assert.match(faultOf([Encode.mov64Imm(1, 0), Encode.ldx(DW, 0, 1, 16), Encode.exit()]).message, /a null pointer/)
      assert.strictEqual(faultOf([Encode.mov64Imm(1, -14), Encode.ldx(DW, 0, 1, 0), Encode.exit()]).reason, "NotMapped")
      const below = faultOf([Encode.stx(DW, 10, 1, -520), Encode.exit()])
      assert.deepStrictEqual([below.reason, below.region, below.offset], ["OutOfBounds", "stack of frame 0", -8])
    })

    it("of the stack of a function that has returned say so", () => {
      const error = faultOf([
        Encode.callSubprogram(2),
        Encode.ldx(DW, 0, 0, -8),
        Encode.exit(),
        Encode.mov64Reg(0, 10),
        Encode.exit()
      ])
      assert.deepStrictEqual([error.reason, error.hint], ["NotMapped", "stack of frame 1 was there and is gone"])
    })

    it("come at the ninth frame and at the end of the code", () => {
      const error = faultOf([Encode.callSubprogram(-1), Encode.exit()])
      assert.strictEqual(error.reason, "CallDepth")
      assert.strictEqual(faultOf([Encode.mov64Imm(0, 0)]).reason, "FellOff")
    })

    it("are the first of a run", () => {
      const error = faultOf(
        [Encode.callHelper(1), Encode.exit()],
        [],
        hostOf({
          1: (machine) => {
            Vm.refuse(machine, "first")
            return Vm.refuse(machine, "second")
          }
        })
      )
      assert.strictEqual(error.message, "program program, instruction 0: first")
    })
  })

  describe("calls", () => {
    const code = [
      Encode.mov64Imm(1, 1),
      Encode.mov64Imm(2, -2),
      Encode.mov64Imm(5, 5),
      Encode.callHelper(6),
      Encode.alu64Imm(C.BPF_ADD, 0, 1),
      Encode.exit()
    ]

    it("of helpers that are not there stop the machine, and it goes on with the result", () => {
      const machine = machineWith()
      Vm.start(machine, decoded(code))
      const outcome = Vm.run(machine, 100)
      const call: Vm.PendingCall = {
        kind: "Helper",
        id: 6,
        name: "bpf_trace_printk",
        slot: 3,
        args: [1n, 0xffff_ffff_ffff_fffen, 0n, 0n, 5n]
      }
      assert.deepStrictEqual(outcome, { _tag: "Calls", call })
      assert.deepStrictEqual(Vm.run(machine, 100), outcome)
      assert.deepStrictEqual(Vm.resume(machine, -3n, 100), { _tag: "Done", r0: 0xffff_ffff_ffff_fffen })
      assert.deepStrictEqual(Vm.resume(machine, 1n, 100), { _tag: "Done", r0: 0xffff_ffff_ffff_fffen })
      assert.strictEqual(machine.executed, 6)
    })

    it("that nothing implements are errors that name them", () => {
      assert.strictEqual(
        faultOf(code).message,
        "program program, instruction 3: nothing implements bpf_trace_printk"
      )
      assert.strictEqual(faultOf([Encode.callHelper(-5), Encode.exit()]).value, "helper -5")
      const error = faultOf([Encode.callKfunc(77), Encode.exit()])
      assert.deepStrictEqual([error.reason, error.value], ["UnknownKfunc", "kernel function 77"])
    })

    it("of helpers and kernel functions in the tables are made in place", () => {
      const host: Vm.Host = {
        ...hostOf({ 6: (machine) => Vm.returnBigint(machine, Vm.signedRegister(machine, 2) * 3n) }),
        kfuncs: new Map([[70, (machine) => Vm.returnNumber(machine, 8_589_934_593)]])
      }
      assert.deepStrictEqual(runs(code, [], host).result, Result.succeed(BigInt.asUintN(64, -5n)))
      assert.deepStrictEqual(
        runs([Encode.callKfunc(70), Encode.exit()], [], host).result,
        Result.succeed(0x2_0000_0001n)
      )
    })

    it("may charge for their work", () => {
      const host = hostOf({
        6: (machine) => {
          Vm.charge(machine, 1000)
          return Vm.returnNumber(machine, 0)
        }
      })
      const machine = machineWith(host)
      Vm.start(machine, decoded(code))
      assert.deepStrictEqual(Vm.run(machine, 500), { _tag: "OutOfBudget" })
      assert.strictEqual(machine.executed, 1004)
      assert.deepStrictEqual(Vm.run(machine, 2), { _tag: "Done", r0: 1n })
      assert.strictEqual(machine.executed, 1006)
    })

    it("see what their arguments point to, and fault where it is nothing", () => {
      const host = hostOf({
        1: (machine) => {
          const bytes = Vm.writable(machine, 1, 8)
          if (bytes === undefined) return Vm.FAULTED
          bytes[0] = (bytes[0] ?? 0) + 1
          return Vm.returnNumber(machine, 0)
        }
      })
      const call = (offset: number) => [
        Encode.st(DW, 10, -8, 41),
        Encode.mov64Reg(1, 10),
        Encode.alu64Imm(C.BPF_ADD, 1, offset),
        Encode.callHelper(1),
        Encode.ldx(DW, 0, 10, -8),
        Encode.exit()
      ]
      assert.deepStrictEqual(runs(call(-8), [], host).result, Result.succeed(42n))
      const error = faultOf(call(-7), [], host)
      assert.deepStrictEqual([error.reason, error.slot, error.size, error.access], ["OutOfBounds", 3, 8, "write"])
      assert.match(error.hint ?? "", /^r1 of the call/)
    })

    it("that enter a callback go on behind it, and give it their argument registers", () => {
      // The callback returns r1 + r2; r6 is its own.
      const insns = [
        Encode.ldFunc(1, 5),
        Encode.mov64Imm(6, 100),
        Encode.callHelper(1),
        Encode.alu64Reg(C.BPF_ADD, 0, 6),
        Encode.exit(),
        Encode.mov64Imm(6, -1),
        Encode.mov64Reg(0, 1),
        Encode.alu64Reg(C.BPF_ADD, 0, 2),
        Encode.exit()
      ]
      insns[0] = Encode.ldFunc(1, 5)
      const enterTwice: Vm.Helper = (machine) => {
        const [low = 0, high = 0] = [machine.low[1], machine.high[1]]
        Vm.setNumber(machine, 1, 2)
        Vm.setNumber(machine, 2, 3)
        return Vm.enter(machine, low, high, (first) => {
          const five = Vm.register(first, 0)
          Vm.setBigint(first, 1, five)
          Vm.setNumber(first, 2, 10)
          return Vm.enter(first, low, high, (second) => Vm.returnBigint(second, Vm.register(second, 0) * 2n))
        })
      }
      assert.deepStrictEqual(runs(insns, [], hostOf({ 1: enterTwice })).result, Result.succeed(130n))
      const machine = machineWith()
      Vm.start(machine, decoded(insns))
      assert.strictEqual(Vm.run(machine, 100)._tag, "Calls")
      assert.deepStrictEqual(Vm.resumeWith(machine, enterTwice, 100), { _tag: "Done", r0: 130n })
    })

    it("that enter what is no function fault", () => {
      const host = hostOf({
        1: (machine) => Vm.enter(machine, machine.low[1] ?? 0, machine.high[1] ?? 0, () => Vm.RETURNED)
      })
      for (const argument of [0n, 0x1_0000_0001n, 0x1_0000_0063n, 0x1_ffff_ffffn]) {
        assert.strictEqual(
          faultOf([Encode.callHelper(1), Encode.mov64Imm(0, 0), Encode.exit()], [argument], host).reason,
          "Callback"
        )
      }
    })

    it("may end the program from any depth, or with an exception callback", () => {
      const insns = [
        Encode.callSubprogram(2),
        Encode.mov64Imm(0, 1),
        Encode.exit(),
        Encode.ldFunc(1, 5),
        Encode.mov64Imm(2, 7),
        Encode.callHelper(1),
        Encode.mov64Imm(0, 2),
        Encode.exit(),
        // The callback: slot 9.
        Encode.mov64Reg(0, 1),
        Encode.ldx(DW, 1, 10, -8),
        Encode.exit()
      ]
      const finish = hostOf({
        1: (machine) => {
          Vm.setNumber(machine, 0, 33)
          return Vm.finish(machine)
        }
      })
      assert.deepStrictEqual(runs(insns, [], finish).result, Result.succeed(33n))
      const unwind = hostOf({
        1: (machine) => {
          const [low = 0, high = 0] = [machine.low[1], machine.high[1]]
          Vm.setNumber(machine, 1, 44)
          return Vm.unwind(machine, low, high)
        }
      })
      const { machine, result } = runs(insns, [], unwind)
      assert.deepStrictEqual(result, Result.succeed(44n))
      assert.strictEqual(machine.depth, 0)
    })
  })

  describe("regions", () => {
    it("with an accessor give pointers where the context has numbers, and refuse the rest", () => {
      const machine = machineWith()
      const packet = Vm.Memory.add(machine.memory, { name: "packet", bytes: Uint8Array.of(1, 2, 0xf3, 4) })
      assert.isDefined(packet)
      const stores: Array<ReadonlyArray<number>> = []
      const context = Vm.Memory.add(machine.memory, {
        name: "xdp_md",
        accessor: {
          load: (offset, size, out) => {
            if (size !== 4 || offset > 4) return false
            out[0] = offset
            out[1] = packet.id
            return true
          },
          store: (offset, size, low, high) => {
            stores.push([offset, size, low, high])
            return offset === 8
          }
        }
      })
      assert.isDefined(context)
      const run = (...insns: ReadonlyArray<Uint8Array>) => {
        Vm.start(machine, decoded([...insns, Encode.exit()]), [Vm.Memory.address(context)])
        return Vm.complete(machine, 100)
      }
      const first = run(Encode.ldx(C.BPF_W, 2, 1, 0), Encode.ldxSigned(C.BPF_B, 0, 2, 2))
      assert.deepStrictEqual(first, Result.succeed(0xffff_ffff_ffff_fff3n))
      assert.isTrue(Result.isSuccess(run(Encode.st(C.BPF_W, 1, 8, -1))))
      assert.deepStrictEqual(stores, [[8, 4, -1, -1]])
      for (
        const insn of [
          Encode.ldx(DW, 2, 1, 0),
          Encode.ldx(C.BPF_W, 2, 1, 8),
          Encode.st(C.BPF_W, 1, 12, 0),
          Encode.atomicAdd(C.BPF_W, 1, 1, 8)
        ]
      ) {
        const result = run(insn)
        assert.isTrue(
          Result.isFailure(result) && result.failure.reason === "BadAccess" && result.failure.region === "xdp_md"
        )
      }
    })

    it("of an arena are reached through casts", () => {
      const memory = Vm.Memory.make()
      const region = Vm.Memory.add(memory, { name: "arena", bytes: new Uint8Array(4096) })
      assert.isDefined(region)
      const machine = machineWith({ ...Vm.noHost, arena: { region, userHigh: 0x7f00 } }, { memory })
      const program = decoded([
        Encode.ldImm64(1, 0x7f00_0000_0010n),
        Encode.addrSpaceCast(2, 1, 0, 1),
        Encode.st(DW, 2, 0, 77),
        Encode.addrSpaceCast(3, 2, 1, 0),
        Encode.mov64Imm(4, 0),
        Encode.addrSpaceCast(4, 4, 1, 0),
        Encode.mov64Reg(0, 3),
        Encode.alu64Reg(C.BPF_ADD, 0, 4),
        Encode.exit()
      ])
      Vm.start(machine, program)
      assert.deepStrictEqual(Vm.complete(machine, 100), Result.succeed(0x7f00_0000_0010n))
      assert.strictEqual(region.bytes[16], 77)
      assert.strictEqual(faultOf([Encode.addrSpaceCast(2, 1, 0, 1), Encode.exit()]).reason, "Unsupported")
    })

    it("give back their place when a machine is released", () => {
      const memory = Vm.Memory.make()
      const before = memory.next
      for (let round = 0; round < 10; round++) {
        const machine = machineWith(Vm.noHost, { memory })
        Vm.start(machine, decoded(sum), [3n])
        assert.deepStrictEqual(Vm.complete(machine, 100), Result.succeed(6n))
        Vm.release(machine)
      }
      assert.strictEqual(memory.next, before + Vm.MAX_FRAMES)
    })
  })
})
