from __future__ import annotations
def test_x(house):
    house.write_card(runs=[{"task":{"tiny":{}},"methods":{"tiny_wide":{},"tiny_student":{},"tiny_pair":{"other":"tiny_wide"},"tiny_keeps":{},"tiny_half":{},"tiny_narrow":{},"tiny_double":{},
      "tiny_fails": {"how": "raises diverges not_finite eats_memory eats_numpy killed exits imports forgets_update returns_nothing overspends loads_stranger notes_nan notes_object spends_nan intrudes other_class more_tensors fewer_layers".split()}, "tiny_flaky":{}, "tiny_peer":{}}},
      {"task":{"tiny_sim":{}},"methods":{"tiny_fast":{}}}])
    plan = house.plan()
    import time
    b=time.process_time()
    print(house.train(plan))
    print(time.process_time()-b)
    for n, r in house.records(plan).items():
        print(n, r["method"] if "method" in r else r["key"]["knobs"], r["status"], r["reason"][:150], list(r["quality"]))
