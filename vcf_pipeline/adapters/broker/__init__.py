"""Brokers. In data order:

port.py            what a broker promises
embedded_files.py  databases made whole, a thread's connection, SQLite's errors mapped
embedded.py        the SQLite log
kafka_errors.py    librdkafka's and a cluster's complaints, as errors of the tree
kafka_clients.py   its clients of one process: producer, administrator, consumers for a moment
kafka_topics.py    what a cluster says of topics: ids, partitions, offsets
kafka_topology.py  topics made durable, compared with the topology, raised to it
kafka_sending.py   messages to one partition, under a clock of our own
kafka_reading.py   ranges by offset, and the long poll
kafka.py           Apache Kafka
iggy_errors.py     what Iggy's client says, mapped
iggy_http.py       Iggy's HTTP interface, for what its client cannot do everywhere
iggy_session.py    clients of one Iggy server and the loop they live in
iggy_topics.py     Iggy topics made durable, read back and judged
iggy.py            Apache Iggy, the first choice
routing.py         which broker the next batch goes to, by health and preference
guard.py           calls that can be left behind, for brokers that freeze
sending.py         a batch to the broker that is chosen; failing ones are left, probed, gone back to
publisher.py       a publication's bounded window
spool.py           the sender's bounded store where no broker is left
forwarder.py       the spool to brokers, the announcement last
listening.py       hearing all brokers at once
reading.py         a segment's messages
coordinator.py     the one door to all of them
"""
