;; A plugin small enough to read: what it does is chosen by the first letter of the action's name.
;;   s… spins for ever        b… answers off its contract        f… fails as `conflict("taken")`
;;   any other answers its parameters unchanged
(module
  (memory (export "memory") 64)
  (global $heap (mut i32) (i32.const 65536))
  (data (i32.const 2048) "{\"off\":\"contract\"}")
  (data (i32.const 2080) "taken")

  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (memory.copy (local.get $at) (local.get $old) (local.get $old_size))
    (local.get $at))

  ;; result<string, failure> lies at 1024: discriminant, then at 4 the case's payload
  (func $ok (param $ptr i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 1024) (i32.const 0))
    (i32.store (i32.const 1028) (local.get $ptr))
    (i32.store (i32.const 1032) (local.get $len))
    (i32.const 1024))

  (func (export "opsiq:plugin/actions@0.1.0#invoke")
    (param $action i32) (param $action_len i32) (param $params i32) (param $params_len i32) (result i32)
    (local $first i32)
    (local.set $first (i32.load8_u (local.get $action)))
    (if (i32.eq (local.get $first) (i32.const 115)) (then (loop $spin (br $spin))))
    (if (i32.eq (local.get $first) (i32.const 98))
      (then (return (call $ok (i32.const 2048) (i32.const 18)))))
    (if (i32.eq (local.get $first) (i32.const 102))
      (then
        (i32.store8 (i32.const 1024) (i32.const 1))
        (i32.store8 (i32.const 1028) (i32.const 3))
        (i32.store (i32.const 1032) (i32.const 2080))
        (i32.store (i32.const 1036) (i32.const 5))
        (return (i32.const 1024))))
    (call $ok (local.get $params) (local.get $params_len))))
