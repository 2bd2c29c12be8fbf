/**
 * Waits for descriptors, any number of them on one thread, and none on the threads that libuv reads files with.
 *
 * One thread sleeps in `epoll_wait` for all who wait; the main thread tells the kernel what each waits for (`epoll_ctl`)
 * while it sleeps, and is sent a message when something has happened. It is started for the first who waits, and ended when
 * the last session that has waited is closed. Everybody waits for one happening: what has been told is off the list, so no
 * descriptor that stays ready keeps the thread busy.
 *
 * The process stays alive for those who wait, as it does for those who listen on a socket, and not for the thread itself.
 */
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { createRequire } from "node:module"
import { Worker } from "node:worker_threads"
import * as Errno from "../abi/Errno.ts"
import type { KernelError } from "../KernelError.ts"
import { type Epoll, EpollEvent, eventLayout } from "../sys/Epoll.ts"
import { refused } from "./Enter.ts"

/** A session's way to wait. */
export interface Reactor {
  /**
   * Waits until one of the descriptors is readable, or writable; answers the positions of those that are, none when the time
   * (milliseconds, absent: any) is over. Interruptible. A descriptor that is closed meanwhile fails with `ECANCELED`.
   */
  readonly wait: (
    subject: string,
    fds: ReadonlyArray<number>,
    to: "Read" | "Write",
    timeout: number | undefined
  ) => Effect.Effect<ReadonlyArray<number>, KernelError>
  /** A descriptor is about to be closed: whoever waits for it is told. */
  readonly forget: (fd: number) => void
}

/** Events that are read from the kernel at once. */
const mostEvents = 64

/**
 * Milliseconds after which the thread looks around: it is asleep in the kernel, where nothing but an event reaches it, and a
 * thread that is to be ended by force (when the thread that started it is) ends only when it comes back.
 */
const lookAround = 1000

/** Error numbers of `epoll_wait` after which the thread goes on. */
const disturbed = Errno.numbers.EINTR

/**
 * What the thread runs. It is text, so that it stays in one piece whatever bundles or transforms this module. Its token 0 is
 * the order to end.
 */
const program = `
const { parentPort, workerData } = require("node:worker_threads")
const { architectureSize, data, disturbed, epoll, koffi: path, lookAround, mostEvents } = workerData
const koffi = require(path)
const wait = koffi.load(null).func("epoll_wait", "int", ["int", "void *", "int", "int"])
const events = new DataView(new ArrayBuffer(architectureSize * mostEvents))
const isLittle = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1
for (let over = false; !over;) {
  const count = wait(epoll, events.buffer, mostEvents, lookAround)
  if (count < 0 && koffi.errno() !== disturbed) throw new Error("epoll_wait answers error number " + koffi.errno())
  const happened = []
  for (let index = 0; index < count; index++) {
    const at = index * architectureSize
    const token = Number(events.getBigUint64(at + data, isLittle))
    if (token === 0) over = true
    else happened.push(token, events.getUint32(at, isLittle))
  }
  if (happened.length > 0) parentPort.postMessage(happened)
}
`

/** Somebody who waits. */
interface Waiter {
  readonly events: number
  /** The positions that a descriptor has in what the waiter gave. */
  readonly positions: ReadonlyMap<number, ReadonlyArray<number>>
  readonly answer: (result: ReadonlyArray<number> | KernelError) => void
}

/** A descriptor that is on the kernel's list, with all who wait for it. */
interface Registration {
  readonly fd: number
  readonly token: number
  readonly waiters: Set<Waiter>
}

const eventsOf = ({ waiters }: Registration): number => {
  let events: number = EpollEvent.EPOLLONESHOT
  for (const waiter of waiters) events |= waiter.events
  return events
}

const failed = (subject: string, errnoNumber: number, hint?: string): KernelError =>
  refused("Wait", subject, errnoNumber, { hint })

/** A thread that waits, until it is ended. */
interface Thread {
  readonly hasEnded: () => boolean
  /** Puts a waiter on the lists of its descriptors; an error number, negated, where that fails. */
  readonly enter: (waiter: Waiter) => number
  /** Takes a waiter off the lists. */
  readonly leave: (waiter: Waiter) => void
  readonly forget: (fd: number) => void
  /** Ends the thread; `done` is called when nothing of it is left. */
  readonly end: (done: () => void) => void
}

/** The eventfds of threads: a process that ends waits for its threads, and these sleep in the kernel. */
const bells = new Map<number, Epoll>()
const ring = (): void => {
  for (const [bell, epoll] of bells) epoll.wake(bell)
}

const hang = (bell: number, epoll: Epoll): void => {
  if (bells.size === 0) process.on("exit", ring)
  bells.set(bell, epoll)
}

const unhang = (bell: number): void => {
  bells.delete(bell)
  if (bells.size === 0) process.off("exit", ring)
}

/** Starts a thread; an error number, negated, where there are no descriptors left for it. */
const start = (epoll: Epoll): Thread | number => {
  const list = epoll.create()
  if (list < 0) return list
  const bell = epoll.eventfd()
  const opened = bell < 0 ? bell : epoll.add(list, bell, EpollEvent.EPOLLIN, 0)
  if (opened < 0) {
    if (bell >= 0) epoll.close(bell)
    epoll.close(list)
    return opened
  }
  const layout = eventLayout(process.arch)
  let worker: Worker
  try {
    worker = new Worker(program, {
      eval: true,
      name: "effect-bpf epoll",
      execArgv: [],
      env: {},
      workerData: {
        architectureSize: layout.size,
        data: layout.data,
        disturbed,
        epoll: list,
        koffi: createRequire(import.meta.url).resolve("koffi"),
        lookAround,
        mostEvents
      }
    })
  } catch {
    // No memory or no thread is left.
    epoll.close(bell)
    epoll.close(list)
    return -Errno.numbers.EAGAIN
  }
  worker.unref()

  const registrations = new Map<number, Registration>()
  const byToken = new Map<number, Registration>()
  const waiters = new Set<Waiter>()
  let tokens = 0
  let isOver = false

  const removed = (registration: Registration): void => {
    registrations.delete(registration.fd)
    byToken.delete(registration.token)
    epoll.remove(list, registration.fd)
  }

  const leave = (waiter: Waiter): void => {
    if (!waiters.delete(waiter)) return
    for (const fd of waiter.positions.keys()) {
      const registration = registrations.get(fd)
      if (registration === undefined) continue
      registration.waiters.delete(waiter)
      if (registration.waiters.size === 0) removed(registration)
    }
    if (waiters.size === 0 && !isOver) worker.unref()
  }

  const enter = (waiter: Waiter): number => {
    waiters.add(waiter)
    if (waiters.size === 1) worker.ref()
    for (const fd of waiter.positions.keys()) {
      const known = registrations.get(fd)
      const registration = known ?? { fd, token: ++tokens, waiters: new Set() }
      registration.waiters.add(waiter)
      const change = known === undefined ? epoll.add : epoll.modify
      const changed = change(list, fd, eventsOf(registration), registration.token)
      registrations.set(fd, registration)
      byToken.set(registration.token, registration)
      if (changed < 0) {
        leave(waiter)
        return changed
      }
    }
    return 0
  }

  const tell = (happened: ReadonlyArray<number>): void => {
    const found = new Map<Waiter, Array<number>>()
    const still: Array<Registration> = []
    for (let index = 0; index + 1 < happened.length; index += 2) {
      // Who is not there any more has left while the message was under way.
      const registration = byToken.get(happened[index] ?? 0)
      if (registration === undefined) continue
      const told = (happened[index + 1] ?? 0) | 0
      const always = EpollEvent.EPOLLERR | EpollEvent.EPOLLHUP
      for (const waiter of registration.waiters) {
        if ((told & (waiter.events | always)) === 0) continue
        const positions = found.get(waiter) ?? []
        positions.push(...(waiter.positions.get(registration.fd) ?? []))
        found.set(waiter, positions)
      }
      still.push(registration)
    }
    for (const [waiter, positions] of found) {
      leave(waiter)
      waiter.answer(positions.sort((a, b) => a - b))
    }
    for (const registration of still) {
      // Others wait for something else of it, and it was told once.
      if (registrations.get(registration.fd) !== registration || registration.waiters.size === 0) continue
      epoll.modify(list, registration.fd, eventsOf(registration), registration.token)
    }
  }

  const forget = (fd: number): void => {
    const registration = registrations.get(fd)
    if (registration === undefined) return
    for (const waiter of registration.waiters) {
      leave(waiter)
      waiter.answer(failed("a descriptor", Errno.numbers.ECANCELED, "it was closed while somebody waited for it"))
    }
  }

  const collapse = (error: Error): void => {
    for (const waiter of waiters) {
      leave(waiter)
      waiter.answer(failed("the waiting thread", Errno.numbers.EIO, error.message))
    }
  }

  hang(bell, epoll)
  let ended = false
  const gone: Array<() => void> = []
  worker.on("message", tell)
  worker.on("error", collapse)
  worker.once("exit", () => {
    unhang(bell)
    isOver = true
    if (waiters.size > 0) collapse(new Error("the thread has ended"))
    epoll.close(bell)
    epoll.close(list)
    ended = true
    for (const each of gone) each()
  })

  return {
    hasEnded: () => ended,
    enter: (waiter) => ended ? -Errno.numbers.EIO : enter(waiter),
    leave,
    forget,
    end: (done) => {
      if (ended) return done()
      gone.push(done)
      isOver = true
      worker.ref()
      epoll.wake(bell)
    }
  }
}

/** The kernel's time, not that of Effect's clock, which a test may have stopped. */
const after = (milliseconds: number, call: () => void): ReturnType<typeof setTimeout> => setTimeout(call, milliseconds)

/** What the sessions of a kernel wait with. */
export interface Reactors {
  /** A session's share; when the scope closes, it is given back. */
  readonly session: Effect.Effect<Reactor, never, Scope.Scope>
}

/** Nothing is started yet. */
export const make = (bind: () => Result.Result<Epoll, KernelError>): Reactors => {
  let thread: Thread | undefined
  let sharing = 0

  const session = Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => ({ shares: false })),
      (state) =>
        Effect.callback<void>((resume) => {
          if (!state.shares) return resume(Effect.void)
          state.shares = false
          const last = thread
          if (--sharing > 0 || last === undefined) return resume(Effect.void)
          thread = undefined
          last.end(() => resume(Effect.void))
        })
    ),
    (state): Reactor => {
      /** The thread, started where there is none. */
      const shared = (epoll: Epoll): Thread | number => {
        const started = thread === undefined || thread.hasEnded() ? start(epoll) : thread
        if (typeof started === "number") return started
        thread = started
        if (!state.shares) sharing++
        state.shares = true
        return started
      }

      const wait: Reactor["wait"] = (subject, fds, to, timeout) =>
        Effect.flatMap(
          Effect.suspend(() => Effect.fromResult(bind())),
          (epoll) =>
            Effect.callback<ReadonlyArray<number>, KernelError>((resume) => {
              const wanted: number = to === "Read" ? EpollEvent.EPOLLIN : EpollEvent.EPOLLOUT
              const now = epoll.poll(fds, wanted)
              if (typeof now === "number") return resume(Effect.fail(failed(subject, -now)))
              const ready = [...now.keys()].filter((index) => now[index] !== 0)
              if (ready.length > 0 || timeout === 0) return resume(Effect.succeed(ready))

              const began = shared(epoll)
              if (typeof began === "number") return resume(Effect.fail(failed(subject, -began)))
              const positions = new Map<number, ReadonlyArray<number>>()
              fds.forEach((fd, index) => positions.set(fd, [...(positions.get(fd) ?? []), index]))
              let timer: ReturnType<typeof setTimeout> | undefined
              const waiter: Waiter = {
                events: wanted,
                positions,
                answer: (result) => {
                  clearTimeout(timer)
                  resume("_tag" in result ? Effect.fail(result) : Effect.succeed(result))
                }
              }
              const entered = began.enter(waiter)
              if (entered < 0) return resume(Effect.fail(failed(subject, -entered)))
              if (timeout !== undefined) {
                timer = after(timeout, () => {
                  began.leave(waiter)
                  resume(Effect.succeed([]))
                })
              }
              return Effect.sync(() => {
                clearTimeout(timer)
                began.leave(waiter)
              })
            })
        )

      return { wait, forget: (fd) => thread?.forget(fd) }
    }
  )

  return { session }
}
