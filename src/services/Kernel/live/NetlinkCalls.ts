/**
 * Network devices, XDP programs without links and programs in traffic control, by netlink.
 *
 * Source: reference page `attach`, section 12; `Documentation/userspace-api/netlink/intro.rst`.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { Command } from "../abi/BpfConstants.ts"
import * as Errno from "../abi/Errno.ts"
import * as Device from "../abi/netlink/Device.ts"
import type * as Exchange from "../abi/netlink/Exchange.ts"
import * as Filter from "../abi/netlink/Filter.ts"
import * as Qdisc from "../abi/netlink/Qdisc.ts"
import type { Message, NetlinkError } from "../abi/netlink/Message.ts"
import type { DeviceRef, NetlinkCalls } from "../calls/NetlinkCalls.ts"
import { type CallError, fromErrno, type KernelError } from "../KernelError.ts"
import type { TargetRef } from "../Ref.ts"
import type { Bound, Handlers, Performed } from "../Session.ts"
import type { Net } from "../sys/Net.ts"
import type { Sys } from "../sys/Sys.ts"
import { type Context, handleOf } from "./Context.ts"
import { attemptsOf, enter, refused } from "./Enter.ts"
import type { Handle, ProgHandle } from "./Handle.ts"
import { ask, decodeAll, deviceOf, filtersOf, inodeOf, isEmpty } from "./NetlinkAsk.ts"

type Tag = keyof NetlinkCalls

const idOf = (arena: Arena.Arena<typeof Attr.GetInfo>): number =>
  Arena.readNumber(Arena.region(arena, "info"), Attr.ProgInfo.fields.id)

/** The identifier of a program. */
const programId = (sys: Sys, call: Tag, { fd, name }: ProgHandle): Effect.Effect<number, KernelError> =>
  Effect.map(
    enter(sys, {
      call,
      subject: name,
      command: Command.BPF_OBJ_GET_INFO_BY_FD,
      layout: Attr.GetInfo,
      values: { bpf_fd: fd, info_len: Attr.ProgInfo.size, info: Arena.struct(Attr.ProgInfo, {}) }
    }),
    ({ arena }) => idOf(arena)
  )

/** A descriptor of a program by its identifier, for as long as `body` runs; `undefined` where there is no right to one. */
const withProgram = <A>(sys: Sys, id: number, body: (fd: number | undefined) => A): A => {
  const arena = Arena.make(Attr.Ids, { start_id: id })
  const fd = Result.isSuccess(arena)
    ? sys.bpfDescriptor(Command.BPF_PROG_GET_FD_BY_ID, arena.success)
    : -Errno.numbers.EINVAL
  try {
    return body(fd < 0 ? undefined : fd)
  } finally {
    if (fd >= 0) sys.close(fd)
  }
}

/** The modes of XDP, of which one is attached to and detached from. */
const modeFlags = Device.XdpFlag.SKB_MODE | Device.XdpFlag.DRV_MODE | Device.XdpFlag.HW_MODE

/** The program that runs on a device in the mode of these flags; 0 for none. */
const programIn = ({ xdp }: Device.Device, flags: number): number =>
  (flags & Device.XdpFlag.SKB_MODE) !== 0
    ? xdp.genericProgramId
    : (flags & Device.XdpFlag.DRV_MODE) !== 0
    ? xdp.driverProgramId
    : (flags & Device.XdpFlag.HW_MODE) !== 0
    ? xdp.hardwareProgramId
    : xdp.programId

const nameOf = (device: DeviceRef | string | number): string =>
  typeof device === "string" ? device : `device ${typeof device === "number" ? device : device.ifindex}`

/** Devices are numbered from 1; 0 would ask for anything, or for all. */
const isDevice = (index: number): boolean => Number.isInteger(index) && index > 0 && index <= 0x7fff_ffff

/** The handlers of the calls on network devices. */
export const handlers = ({ net, sys }: Context): Pick<Handlers<Handle>, Tag> => {
  /**
   * Devices whose `clsact` was let go of while filters of this session were still in it: the last of these takes it away. By
   * namespace and number.
   */
  const leftOver = new Set<string>()

  const keyOf = (space: number | undefined, ifindex: number): string =>
    `${space === undefined ? 0 : inodeOf(space)} ${ifindex}`

  /** Takes a `clsact` of ours away, unless somebody's filter is in it. */
  const removeClsact = (opened: Net, space: number | undefined, ifindex: number): void => {
    const { egress, ingress } = Filter.Parent
    const key = keyOf(space, ifindex)
    if ([ingress, egress].every((parent) => isEmpty(opened, space, ifindex, parent))) {
      leftOver.delete(key)
      ask(opened, space, Filter.deleteClsact(ifindex))
    } else leftOver.add(key)
  }

  /** The namespace of a call, or none. */
  const namespaceOf = (
    bound: Bound<Handle>,
    call: Tag,
    netns: TargetRef | undefined
  ): Effect.Effect<number | undefined, CallError> =>
    netns === undefined ? Effect.succeed(undefined) : Effect.map(handleOf(bound, call, netns), ({ fd }) => fd)

  /**
   * An attachment in the namespace of a call. What takes it away works on a descriptor of its own, which is closed afterwards, or
   * when the attaching fails.
   */
  const attachment = <A>(
    bound: Bound<Handle>,
    call: Tag,
    netns: TargetRef | undefined,
    attach: (
      opened: Net,
      space: number | undefined
    ) => Effect.Effect<{ readonly result: A; readonly remove: () => void }, CallError>
  ): Effect.Effect<Performed<Handle, A>, CallError> =>
    Effect.gen(function*() {
      const opened = yield* Effect.fromResult(net())
      const fd = yield* namespaceOf(bound, call, netns)
      const space = fd === undefined ? undefined : sys.duplicate(fd)
      if (space !== undefined && space < 0) return yield* refused(call, "the network namespace", -space)
      const letGo = (): void => {
        if (space !== undefined) sys.close(space)
      }
      const { remove, result } = yield* Effect.onError(attach(opened, space), () => Effect.sync(letGo))
      const handle: Handle = {
        _tag: "Attachment",
        remove: () => {
          remove()
          letGo()
        },
        letGo
      }
      return { result, handle }
    })

  /** One request with the usual patience. */
  const request = Effect.fnUntraced(function*(
    bound: Bound<Handle>,
    call: Tag,
    subject: string,
    netns: TargetRef | undefined,
    make: () => Exchange.Request,
    accept: ReadonlyArray<number> = []
  ): Effect.fn.Return<{ readonly answers: ReadonlyArray<Message>; readonly errno: number }, CallError> {
    const opened = yield* Effect.fromResult(net())
    const fd = yield* namespaceOf(bound, call, netns)
    const answer = Effect.suspend((): Effect.Effect<
      { readonly answers: ReadonlyArray<Message>; readonly errno: number },
      CallError
    > => {
      const reply = ask(opened, fd, make())
      if (Result.isSuccess(reply)) return Effect.succeed({ answers: reply.success, errno: 0 })
      const { errno, hint, words } = reply.failure
      if (accept.includes(errno)) return Effect.succeed({ answers: [], errno })
      return Effect.fail(refused(call, subject, errno, {
        ...(words === undefined ? {} : { log: words }),
        ...(hint === undefined ? {} : { hint })
      }))
    })
    return yield* attemptsOf(bound).persist(undefined, answer)
  })

  const decoded = <A>(
    call: Tag,
    subject: string,
    answers: ReadonlyArray<Message>,
    decode: (message: Message) => Result.Result<A | undefined, NetlinkError>
  ): Effect.Effect<ReadonlyArray<A>, KernelError> =>
    Effect.fromResult(
      Result.mapError(decodeAll(answers, decode), ({ message }) =>
        fromErrno(call, subject, Errno.numbers.EBADMSG, { hint: `the kernel's answer cannot be read: ${message}` }))
    )

  const check = (call: Tag, { ifindex }: DeviceRef): Effect.Effect<void, KernelError> =>
    isDevice(ifindex)
      ? Effect.void
      : Effect.fail(refused(call, `device ${ifindex}`, Errno.numbers.EINVAL, { hint: "devices are numbered from 1" }))

  return {
    DeviceGet: Effect.fnUntraced(function*(call, bound) {
      const subject = nameOf(call.device)
      const valid = typeof call.device === "number"
        ? isDevice(call.device)
        : call.device !== "" && !call.device.includes("\0")
      if (!valid) {
        return yield* refused("DeviceGet", JSON.stringify(call.device), Errno.numbers.EINVAL, {
          hint: "this is neither the name nor the number of a device"
        })
      }
      const { answers } = yield* request(bound, "DeviceGet", subject, call.netns, () => Device.get(call.device))
      const [device] = yield* decoded("DeviceGet", subject, answers, Device.decode)
      return device === undefined
        ? yield* refused("DeviceGet", subject, Errno.numbers.ENODEV)
        : { result: device }
    }),

    DeviceList: Effect.fnUntraced(function*(call, bound) {
      const { answers } = yield* request(bound, "DeviceList", "all devices", call.netns, () => Device.list())
      return { result: yield* decoded("DeviceList", "all devices", answers, Device.decode) }
    }),

    XdpAttach: Effect.fnUntraced(function*(call, bound) {
      yield* check("XdpAttach", call.device)
      const { ifindex, netns } = call.device
      const prog = yield* handleOf(bound, "XdpAttach", call.prog)
      const old = call.replace === undefined ? undefined : yield* handleOf(bound, "XdpAttach", call.replace)
      const id = yield* programId(sys, "XdpAttach", prog)
      const flags = call.flags | (old === undefined ? 0 : Device.XdpFlag.REPLACE)
      return yield* attachment(
        bound,
        "XdpAttach",
        netns,
        Effect.fnUntraced(function*(opened, space) {
          yield* request(
            bound,
            "XdpAttach",
            `${prog.name} to ${nameOf(call.device)}`,
            netns,
            () => Device.setXdp({ index: ifindex, programFd: prog.fd, flags, expectedFd: old?.fd })
          )
          const mode = call.flags & modeFlags
          const remove = (): void => {
            const device = deviceOf(opened, space, ifindex)
            if (device === undefined || programIn(device, mode) !== id) return
            withProgram(sys, id, (expectedFd) => {
              const taken = expectedFd === undefined
                ? undefined
                : ask(
                  opened,
                  space,
                  Device.setXdp({ index: ifindex, programFd: -1, flags: mode | Device.XdpFlag.REPLACE, expectedFd })
                )
              // Kernels before 5.7 expect nothing.
              if (taken === undefined || (Result.isFailure(taken) && taken.failure.errno !== Errno.numbers.EEXIST)) {
                ask(opened, space, Device.setXdp({ index: ifindex, programFd: -1, flags: mode }))
              }
            })
          }
          return { result: undefined, remove }
        })
      )
    }),

    XdpDetach: Effect.fnUntraced(function*(call, bound) {
      yield* check("XdpDetach", call.device)
      const { ifindex, netns } = call.device
      const expected = call.prog === undefined ? undefined : yield* handleOf(bound, "XdpDetach", call.prog)
      const flags = call.flags | (expected === undefined ? 0 : Device.XdpFlag.REPLACE)
      yield* request(
        bound,
        "XdpDetach",
        nameOf(call.device),
        netns,
        () => Device.setXdp({ index: ifindex, programFd: -1, flags, expectedFd: expected?.fd })
      )
      return { result: undefined }
    }),

    ClsactCreate: Effect.fnUntraced(function*(call, bound) {
      yield* check("ClsactCreate", call.device)
      const { ifindex, netns } = call.device
      return yield* attachment(
        bound,
        "ClsactCreate",
        netns,
        Effect.fnUntraced(function*(opened, space) {
          const { errno } = yield* request(
            bound,
            "ClsactCreate",
            nameOf(call.device),
            netns,
            () => Filter.createClsact(ifindex),
            [Errno.numbers.EEXIST]
          )
          const created = errno === 0
          const remove = (): void => {
            if (created) removeClsact(opened, space, ifindex)
          }
          return { result: { created }, remove }
        })
      )
    }),

    ClsactDelete: Effect.fnUntraced(function*(call, bound) {
      yield* check("ClsactDelete", call.device)
      const { ifindex, netns } = call.device
      yield* request(bound, "ClsactDelete", nameOf(call.device), netns, () => Filter.deleteClsact(ifindex))
      return { result: undefined }
    }),

    FilterAttach: Effect.fnUntraced(function*(call, bound) {
      yield* check("FilterAttach", call.device)
      const { ifindex, netns } = call.device
      const { handle, parent, priority, replace } = call
      const prog = yield* handleOf(bound, "FilterAttach", call.prog)
      const id = yield* programId(sys, "FilterAttach", prog)
      const place = { index: ifindex, parent, handle, priority }
      const subject = `${prog.name} to ${nameOf(call.device)}`
      return yield* attachment(
        bound,
        "FilterAttach",
        netns,
        Effect.fnUntraced(function*(opened, space) {
          const { answers } = yield* request(
            bound,
            "FilterAttach",
            subject,
            netns,
            () => Filter.attach(place, { fd: prog.fd, name: `${prog.name}:[${id}]` }, replace)
          )
          // The kernel repeats what it made; where that cannot be read, the filter is looked for.
          const repeated = decodeAll(answers, Filter.decode)
          const made = (Result.isSuccess(repeated) ? repeated.success : []).find(({ programId }) => programId === id) ??
            filtersOf(opened, space, ifindex, parent)?.findLast(({ programId }) => programId === id)
          if (made === undefined) {
            return yield* fromErrno("FilterAttach", subject, Errno.numbers.EBADMSG, {
              hint: "the kernel did not repeat the filter that it made: look at it with tc filter show"
            })
          }
          const remove = (): void => {
            const still = filtersOf(opened, space, ifindex, parent)?.some((filter) =>
              filter.handle === made.handle && filter.priority === made.priority && filter.programId === id
            )
            if (still === true) ask(opened, space, Filter.detach(made))
            if (leftOver.has(keyOf(space, ifindex))) removeClsact(opened, space, ifindex)
          }
          return { result: made, remove }
        })
      )
    }),

    FilterDetach: Effect.fnUntraced(function*(call, bound) {
      yield* check("FilterDetach", call.device)
      const { handle, parent, priority } = call
      const { ifindex, netns } = call.device
      yield* request(
        bound,
        "FilterDetach",
        nameOf(call.device),
        netns,
        () => Filter.detach({ index: ifindex, parent, handle, priority })
      )
      return { result: undefined }
    }),

    FilterList: Effect.fnUntraced(function*(call, bound) {
      yield* check("FilterList", call.device)
      const { ifindex, netns } = call.device
      const subject = nameOf(call.device)
      const { answers } = yield* request(bound, "FilterList", subject, netns, () => Filter.list(ifindex, call.parent))
      return { result: yield* decoded("FilterList", subject, answers, Filter.decode) }
    }),

    QdiscList: Effect.fnUntraced(function*(call, bound) {
      yield* check("QdiscList", call.device)
      const { ifindex, netns } = call.device
      const subject = nameOf(call.device)
      const found: Array<Qdisc.Qdisc> = []
      for (const list of [Qdisc.listClasses, Qdisc.listQdiscs]) {
        const { answers } = yield* request(bound, "QdiscList", subject, netns, () => list(ifindex))
        const all = yield* decoded("QdiscList", subject, answers, Qdisc.decode)
        // The kernel tells of the disciplines of all devices.
        for (const each of all) if (each.index === ifindex) found.push(each)
      }
      return { result: found }
    })
  }
}
