;; Calls the host again from within a call of the host: its allocator, which takes the answer of one import, calls
;; another import.
(module
  (import "opsiq:plugin/context@0.1.0" "config" (func $config (param i32)))
  (import "opsiq:plugin/clock@0.1.0" "now-ms" (func $now (result i64)))
  (memory (export "memory") 2)
  (global $again i32 (i32.const 1)) ;; harmless: 0
  (global $inside (mut i32) (i32.const 0))
  (global $heap (mut i32) (i32.const 65536))
  (data (i32.const 1024) "{}")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (if (i32.and (global.get $inside) (global.get $again)) (then (drop (call $now))))
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -8)))))
  (func $ok (result i32)
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 20) (i32.const 1024))
    (i32.store (i32.const 24) (i32.const 2))
    (i32.const 16))
  (func (export "opsiq:plugin/actions@0.1.0#invoke") (param i32 i32 i32 i32) (result i32)
    (global.set $inside (i32.const 1))
    (call $config (i32.const 32))
    (call $ok)))
