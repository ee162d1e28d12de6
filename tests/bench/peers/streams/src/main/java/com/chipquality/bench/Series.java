package com.chipquality.bench;

import java.nio.ByteBuffer;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;

/**
 * What the charts know of one series: individuals and moving range with Nelson's eight rules, EWMA, CUSUM, Cp and Cpk.
 *
 * <p>Limits are learned from the first {@link #PHASE_ONE} rows. Constants and readings of the rules are those of models/run_rules.py,
 * models/ewma.py, models/cusum.py and models/capability.py; sums are Welford's.
 */
final class Series {
  static final int PHASE_ONE = 50;
  static final int NUMBERS = 16;
  private static final double D2 = 1.1283791670955126;
  private static final double D3 = 0.8525024664;
  private static final double LAMBDA = 0.2;
  private static final double EWMA_WIDTH = 3.0;
  private static final double SLACK = 0.5;
  private static final double DECISION = 5.0;
  private static final double CPK_MIN = 1.33;
  private static final int BYTES = 12 * Double.BYTES + 10 * Integer.BYTES;

  double mean;
  double squares;
  double ranges;
  double last = Double.NaN;
  double mu;
  double sigma;
  double ewma;
  double weight;
  double above;
  double below;
  double lsl = Double.NaN;
  double usl = Double.NaN;
  int rows;
  int judged;
  int side;
  int trend;
  int alternating;
  int lastStep;
  int within;
  int beyondHistory;
  int twoSigma;
  int signals;

  /** Advances by one value; fills `said` with what the charts plot. Returns the rules that fire, a bit each; -1 in Phase I. */
  int take(double x, double low, double high, double[] said) {
    double range = Math.abs(x - last);
    double step = x - last;
    last = x;
    rows++;
    double off = x - mean;
    mean += off / rows;
    squares += off * (x - mean);
    if (rows > 1) {
      ranges += range;
    }
    if (!Double.isNaN(low)) {
      lsl = low;
    }
    if (!Double.isNaN(high)) {
      usl = high;
    }
    if (rows <= PHASE_ONE) {
      if (rows == PHASE_ONE) {
        mu = mean;
        sigma = ranges / (rows - 1) / D2;
        ewma = mu;
        weight = 1.0;
      }
      return -1;
    }
    judged++;
    double z = sigma > 0.0 ? (x - mu) / sigma : Math.signum(x - mu) * Double.MAX_VALUE;
    int fired = rules(z, step);
    double rangeLimit = (D2 + 3.0 * D3) * sigma;
    if (range > rangeLimit) {
      fired |= 1 << 8;
    }
    ewma += LAMBDA * (x - ewma);
    weight *= (1.0 - LAMBDA) * (1.0 - LAMBDA);
    double width = EWMA_WIDTH * sigma * Math.sqrt(LAMBDA / (2.0 - LAMBDA) * (1.0 - weight));
    if (Math.abs(ewma - mu) > width) {
      fired |= 1 << 9;
    }
    above = Math.max(0.0, above + (x - mu) - SLACK * sigma);
    below = Math.max(0.0, below - (x - mu) - SLACK * sigma);
    double decision = DECISION * sigma;
    if (above > decision) {
      fired |= 1 << 10;
    }
    if (below > decision) {
      fired |= 1 << 11;
    }
    double inside = ranges / (rows - 1) / D2;
    double cp = (usl - lsl) / (6.0 * inside);
    double cpk = Math.min(usl - mean, mean - lsl) / (3.0 * inside);
    if (cpk < CPK_MIN) {
      fired |= 1 << 12;
    }
    said[0] = x;
    said[1] = mu;
    said[2] = mu - 3.0 * sigma;
    said[3] = mu + 3.0 * sigma;
    said[4] = range;
    said[5] = D2 * sigma;
    said[6] = rangeLimit;
    said[7] = ewma;
    said[8] = mu - width;
    said[9] = mu + width;
    said[10] = above;
    said[11] = below;
    said[12] = decision;
    said[13] = cp;
    said[14] = cpk;
    said[15] = Math.min(usl - mean, mean - lsl) / (3.0 * Math.sqrt(squares / (rows - 1)));
    return fired;
  }

  private int rules(double z, double step) {
    int sign = z > 0.0 ? 1 : z < 0.0 ? -1 : 0;
    side = sign == 0 ? 0 : sign * side > 0 ? side + sign : sign;
    int direction = step > 0.0 ? 1 : step < 0.0 ? -1 : 0;
    boolean first = judged == 1;
    trend = first || direction == 0 ? 0 : direction * trend > 0 ? trend + direction : direction;
    alternating = first || direction == 0 ? 0 : direction == -lastStep ? alternating + 1 : 1;
    lastStep = direction;
    double size = Math.abs(z);
    within = size < 1.0 ? within + 1 : 0;
    beyondHistory = (beyondHistory << 2 | (z > 1.0 ? 1 : 0) | (z < -1.0 ? 2 : 0)) & 0xffff;
    twoSigma = (twoSigma << 2 | (z > 2.0 ? 1 : 0) | (z < -2.0 ? 2 : 0)) & 0b111111;
    int fired = size > 3.0 ? 1 : 0;
    if (Math.abs(side) >= 9) {
      fired |= 1 << 1;
    }
    if (Math.abs(trend) >= 5) {
      fired |= 1 << 2;
    }
    if (alternating >= 13) {
      fired |= 1 << 3;
    }
    int up = twoSigma & 0b010101;
    int down = twoSigma & 0b101010;
    if ((up & 1) != 0 && Integer.bitCount(up) >= 2 || (down & 2) != 0 && Integer.bitCount(down) >= 2) {
      fired |= 1 << 4;
    }
    int five = beyondHistory & 0x3ff;
    int upper = five & 0x155;
    int lower = five & 0x2aa;
    if ((upper & 1) != 0 && Integer.bitCount(upper) >= 4 || (lower & 2) != 0 && Integer.bitCount(lower) >= 4) {
      fired |= 1 << 5;
    }
    if (within >= 15) {
      fired |= 1 << 6;
    }
    if (judged >= 8 && Integer.bitCount(beyondHistory) == 8 && (beyondHistory & 0x5555) != 0 && (beyondHistory & 0xaaaa) != 0) {
      fired |= 1 << 7;
    }
    return fired;
  }

  static Serde<Series> serde() {
    Serializer<Series> write = (topic, series) -> series == null ? null : series.bytes();
    Deserializer<Series> read = (topic, bytes) -> bytes == null ? null : of(bytes);
    return Serdes.serdeFrom(write, read);
  }

  private byte[] bytes() {
    ByteBuffer to = ByteBuffer.allocate(BYTES);
    to.putDouble(mean).putDouble(squares).putDouble(ranges).putDouble(last).putDouble(mu).putDouble(sigma).putDouble(ewma);
    to.putDouble(weight).putDouble(above).putDouble(below).putDouble(lsl).putDouble(usl);
    to.putInt(rows).putInt(judged).putInt(side).putInt(trend).putInt(alternating).putInt(lastStep).putInt(within);
    to.putInt(beyondHistory).putInt(twoSigma).putInt(signals);
    return to.array();
  }

  private static Series of(byte[] bytes) {
    ByteBuffer from = ByteBuffer.wrap(bytes);
    Series series = new Series();
    series.mean = from.getDouble();
    series.squares = from.getDouble();
    series.ranges = from.getDouble();
    series.last = from.getDouble();
    series.mu = from.getDouble();
    series.sigma = from.getDouble();
    series.ewma = from.getDouble();
    series.weight = from.getDouble();
    series.above = from.getDouble();
    series.below = from.getDouble();
    series.lsl = from.getDouble();
    series.usl = from.getDouble();
    series.rows = from.getInt();
    series.judged = from.getInt();
    series.side = from.getInt();
    series.trend = from.getInt();
    series.alternating = from.getInt();
    series.lastStep = from.getInt();
    series.within = from.getInt();
    series.beyondHistory = from.getInt();
    series.twoSigma = from.getInt();
    series.signals = from.getInt();
    return series;
  }
}
